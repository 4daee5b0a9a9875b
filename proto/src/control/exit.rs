//! Exit codes of control and data plane that mean something to their supervisor.

/// It cannot start with this configuration; trying again would not help (sysexits `EX_CONFIG`).
pub const BAD_CONFIGURATION: i32 = 78;

/// A client of the API wished the end at once, without draining.
pub const FORCED: i32 = 79;
