//! HTTP/1 on raw bytes: nothing is added, corrected or hidden on either side.

pub mod app;
pub mod body;
pub mod client;
pub mod head;
pub mod script;
pub mod wire;

pub use app::{Answer, App, Saw};
pub use client::{Client, Got};
pub use head::Head;
pub use script::{End, Step};
