//! Tests of whole connections: scripted bytes against one end, two ends against each other, and against the h2 crate.

mod floods;
mod flow;
mod general;
mod h2_peer;
mod life;
mod mutation;
mod rules;
mod simulation;
mod stalled;
mod wire;
