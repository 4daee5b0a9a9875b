//! The mesh hop: connections between sidecars.
