//! gRPC on the `h2` crate: a raw caller, a scripted callee, and the messages between sidecars in the recordings' JSON form.

pub mod callee;
pub mod caller;
pub mod messages;

pub use callee::{Callee, Script, Step};
pub use caller::{Call, Reply};

/// A message with its 5-byte prefix.
pub fn framed(compressed: u8, message: &[u8]) -> Vec<u8> {
    let mut bytes = vec![compressed];
    bytes.extend((message.len() as u32).to_be_bytes());
    bytes.extend(message);
    bytes
}

/// The whole messages at the front of `bytes`: compressed flag and content.
pub fn unframed(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut messages = Vec::new();
    while let Some((prefix, rest)) = bytes.split_first_chunk::<5>() {
        let length = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]) as usize;
        let Some((message, behind)) = rest.split_at_checked(length) else { break };
        messages.push((prefix[0], message.to_vec()));
        bytes = behind;
    }
    messages
}
