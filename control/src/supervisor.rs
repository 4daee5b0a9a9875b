//! The supervisor: starts, watches and ends the other processes. std and libc, no policy.
