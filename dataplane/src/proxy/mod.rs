//! The two stories: [`outbound`] carries a local client's request to another app (or, [`external`], to a server
//! outside the mesh), [`inbound`] another sidecar's call to the local app.

mod answer;
mod attempt;
mod external;
mod hop;
pub(crate) mod inbound;
mod inbound_app;
pub(crate) mod outbound;
mod own;
mod pipeline;
mod relay;
mod replay;
mod respond;
pub(crate) mod steps;
mod to_app;
mod upgrade;

pub(crate) use respond::{Reply, Trace, asked, date, reply};
