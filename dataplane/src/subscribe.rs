//! The data plane's end of the local channel.
