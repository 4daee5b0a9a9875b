//! Who plays the sidecars.

use rig::Program;

/// The programs of both roles.
#[derive(Clone)]
pub(crate) struct Players {
    pub(crate) caller: Program,
    pub(crate) callee: Program,
}

impl Players {
    /// Who plays this role.
    pub(crate) fn of(&self, role: &str) -> &Program {
        if role == "callee" { &self.callee } else { &self.caller }
    }

    /// Whether every sidecar is ours.
    pub(crate) fn are_ours(&self) -> bool {
        self.caller.is_ours() && self.callee.is_ours()
    }

    /// Whether every sidecar is a real daprd.
    pub(crate) fn are_daprd(&self) -> bool {
        !self.caller.is_ours() && !self.callee.is_ours()
    }
}

/// Reads `OUTRIGGER_VECTORS`; `None` when a real daprd is wanted and there is none.
pub(crate) fn chosen() -> Option<Players> {
    let wanted = std::env::var("OUTRIGGER_VECTORS").unwrap_or_else(|_| "outrigger".to_owned());
    let program = |name: &str| match name {
        "outrigger" => Some(rig::outrigger!()),
        "daprd" => Program::daprd(),
        other => panic!("OUTRIGGER_VECTORS names outrigger and daprd, not {other}"),
    };
    let (caller, callee) = wanted.split_once('-').unwrap_or((&wanted, &wanted));
    Some(Players { caller: program(caller)?, callee: program(callee)? })
}
