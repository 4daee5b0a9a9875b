//! Access control: the only place where a `Permit` comes from.

/// The access-control list of one workload. The default allows every authenticated peer, as daprd does without one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Acl {}
