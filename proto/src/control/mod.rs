//! The local channel between control and data plane: frames and messages, both ends.
