//! The control process.
