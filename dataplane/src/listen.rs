//! Listening sockets and what is served on them.
