//! The seam to the operating system: the only folder that names the async runtime or contains unsafe.
//!
//! A process runs some shards ([`start_shards`]), each a thread with its own sockets, timers, buffers and tasks; nothing
//! of a shard is shared with another but what is `Send` here: [`Accepted`] connections, [`Sender`]s of mailboxes, wakers
//! and [`bytes::Bytes`]. Everything else panics outside of a shard and does not leave its thread.
//!
//! Two backends stand behind the same seam, chosen by [`preflight`] before anything else is touched: completion
//! (io_uring) and readiness (epoll). What they share is written once: the state of a socket (`net`), the task table
//! (`tasks`), the rhythm of a shard (`pulse`).

mod address;
mod blocking;
mod congestion;
mod handle;
mod inside;
mod lane;
mod listener;
mod local;
mod mailbox;
mod memory;
mod net;
mod own;
mod pool;
mod preflight;
mod pulse;
mod ring;
mod segment;
mod shards;
mod signals;
mod spare;
mod stream;
mod sys;
mod tasks;
mod thrift;
mod tick;
mod timers;
mod wheel;

pub use address::Address;
pub use blocking::blocking;
pub use congestion::Congestion;
pub use handle::ShardId;
pub use lane::{Lane, lane};
pub use listener::{Accepted, BACKLOG, Listener, adopted, connect, connect_thrifty};
pub use local::{TurnEnd, at_turn_end, counts, now, shard, shard_count, stop, tasks};
pub use mailbox::{MAILBOX_LIMIT, Mailbox, Receiver, Sender};
pub use memory::{resident, trim};
pub use net::Counts;
pub use pool::Chunk;
pub use preflight::{Backend, BackendChoice, preflight};
pub use segment::{Part, Segment, Segments, Shared};
pub use shards::{
    BUFFER_SIZE, BUFFERS, EXTRA_BUFFERS, HOT_BUFFERS, RING_ENTRIES, Running, Shards, start_shards,
};
pub use signals::{Terminate, on_terminate};
pub use spare::{give_back, turn_buffer, turn_buffer_for};
pub use stream::{Reader, RecvError, SendError, Stream, Writer};
pub use tasks::{Task, spawn, yield_now};
pub use tick::Tick;
pub use timers::{sleep_until, within};
