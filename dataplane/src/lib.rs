//! Outrigger's data plane: shards, sockets, TLS, HTTP and forwarding. Layers and allowed imports: ARCHITECTURE.md.

pub mod admin;
pub mod app;
pub mod config;
pub mod external;
pub mod http1;
pub mod http2;
pub mod listen;
pub mod log;
pub mod mesh;
pub mod metrics;
pub mod process;
pub mod proxy;
pub mod rt;
pub mod shard;
pub mod subscribe;
pub mod tls;

pub use process::run;
