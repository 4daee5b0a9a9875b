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

    /// Whether ours meets a real daprd.
    pub(crate) fn are_mixed(&self) -> bool {
        self.caller.is_ours() != self.callee.is_ours()
    }

    /// What stands before the names of cases: nothing where all sidecars are ours.
    pub(crate) fn prefix(&self) -> &'static str {
        match (self.caller.is_ours(), self.callee.is_ours()) {
            (true, true) => "",
            (false, false) => "daprd/",
            (true, false) => "outrigger-calls-daprd/",
            (false, true) => "daprd-calls-outrigger/",
        }
    }
}

/// Who plays: what `OUTRIGGER_VECTORS` says, else ours and, where there is a real daprd, ours with it in both directions.
pub(crate) fn chosen() -> Vec<Players> {
    let wanted = std::env::var("OUTRIGGER_VECTORS").unwrap_or_else(|_| default().to_owned());
    wanted.split(',').filter_map(pair).collect()
}

fn default() -> &'static str {
    match Program::daprd() {
        Some(_) => "outrigger,outrigger-daprd,daprd-outrigger",
        None => {
            rig::program::skipped_without_peers("the HTTP vectors between Outrigger and a real daprd");
            "outrigger"
        }
    }
}

/// `CALLER-CALLEE`, or one word for both; `None` when a real daprd is wanted and there is none.
fn pair(words: &str) -> Option<Players> {
    let program = |name: &str| match name {
        "outrigger" => Some(rig::outrigger!()),
        "daprd" => Program::daprd(),
        other => panic!("OUTRIGGER_VECTORS names outrigger and daprd, not {other}"),
    };
    let (caller, callee) = words.split_once('-').unwrap_or((words, words));
    Some(Players { caller: program(caller)?, callee: program(callee)? })
}
