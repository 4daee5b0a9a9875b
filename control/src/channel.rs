//! Control's end of the local channel.
