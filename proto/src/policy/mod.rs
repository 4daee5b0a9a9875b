//! Who may call what, and what happens when it fails.

pub mod acl;
pub mod health;
pub mod memory;
pub mod pipeline;
pub mod redirect;
pub mod retry;
