//! What only prints: versions, completions, the manual page, daprd's `--version`, `--build-info` and `--wait`.

use super::flags::DaprFlags;
use crate::supervisor::probe;
use std::time::{Duration, Instant};

/// Version of this build.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");
/// How long `--wait` waits for the sidecar, as daprd does.
const WAIT: Duration = Duration::from_secs(60);

pub(super) fn version() -> i32 {
    super::out(&format!("outrigger {VERSION}\n"))
}

pub(super) fn completions(shell: clap_complete::Shell) -> i32 {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut super::command(), "outrigger", &mut script);
    super::out(&String::from_utf8_lossy(&script))
}

/// The page of the whole, or of one verb.
pub(super) fn man(verb: Option<&str>) -> i32 {
    let mut whole = super::command();
    whole.build();
    let chosen = match verb {
        None => Some(whole),
        Some(verb) => whole.find_subcommand(verb).cloned(),
    };
    let Some(chosen) = chosen else {
        super::complain(&format!("no verb {:?}; see outrigger --help", verb.unwrap_or_default()));
        return 2;
    };
    let mut page = Vec::new();
    match clap_mangen::Man::new(chosen).render(&mut page) {
        Ok(()) => super::out(&String::from_utf8_lossy(&page)),
        Err(error) => super::complain(&format!("the manual page cannot be made: {error}")),
    }
}

/// daprd's flags that print or wait in place of starting a sidecar.
pub(super) fn daprd_prints(flags: &DaprFlags) -> Option<i32> {
    if flags.print_version {
        return Some(super::out(&format!("{VERSION}\n")));
    }
    if flags.build_info {
        return Some(super::out(&format!("Version: {VERSION}\nGit Commit: \nGit Version: \n")));
    }
    flags.wait.then(|| wait_outbound(&flags.dapr_http_port))
}

/// Waits until the sidecar on this port can call out; like daprd it ends with 0 also when that never comes.
fn wait_outbound(port: &str) -> i32 {
    let Ok(port) = port.parse::<u16>() else {
        return super::complain(&format!("--dapr-http-port {port:?} is not a port"));
    };
    let until = Instant::now() + WAIT;
    while Instant::now() < until {
        if probe::answers(port, "/v1.0/healthz/outbound") {
            return 0;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    eprintln!("warning: no sidecar on port {port} could call out within {} s", WAIT.as_secs());
    0
}
