//! The test rig: real processes around the built executable, and scripted clients, apps and peers that work on raw bytes.
//!
//! | module | what it plays |
//! |---|---|
//! | [`sidecar`] | `outrigger` or a real `daprd` as a process: free ports, private folder, readiness, captured output, gone on drop |
//! | [`http1`] | a raw-byte HTTP/1 client and a scripted raw-byte HTTP/1 app |
//! | [`h2app`], [`peer`] | an HTTP/2 app without TLS, a gRPC peer with scripted answers (on the `h2` crate) |
//! | [`ground`] | sidecars of ours that share a registry, and what they say about themselves |
//! | [`echo`], [`load`], [`pattern`] | an app that answers with what it got, a steady load that compares, bytes of any length that show a mistake |
//! | [`tls`] | a client of the mesh port that shows any identity or none |
//! | [`seccomp`] | a process that is refused a system call |
//! | [`grpc`] | a raw gRPC caller and a scripted callee, the messages between sidecars |
//! | [`mdns`] | a responder that leads names to ports in daprd's record shape |
//! | [`ca`] | a test authority |
//! | [`netns`] | a network namespace of the test's own |
//! | [`vectors`] | the recordings: their form, their tokens, the comparison |
//! | [`harness`] | cases under their own names, printed as `cargo test` prints |
//! | [`wait`] | every wait, each with a bound |
//!
//! Nothing here sleeps where an event can be waited for; what sleeps does so because a recording says `wait_ms`.

// Test code: a failed assumption is a failed test, and the panic's place says which.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

pub mod ca;
pub mod echo;
pub mod ground;
pub mod grpc;
pub mod h2app;
pub mod harness;
pub mod http1;
pub mod load;
pub mod machine;
pub mod mdns;
pub mod netns;
pub mod pattern;
pub mod peer;
pub mod port;
pub mod program;
pub mod scratch;
pub mod seccomp;
pub mod sidecar;
pub mod tls;
pub mod token;
pub mod vectors;
pub mod wait;

pub use program::Program;
pub use sidecar::{Launch, Sidecar};
