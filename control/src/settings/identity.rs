//! How peers authenticate: what the flags ask for, and what is refused because it would silently be weaker.

use super::decide::{Environment, Refusal};
use super::{Mode, Mtls, host};
use crate::cli::SuperviseArgs;
use std::path::PathBuf;
use std::time::Duration;

/// Shortest life of a leaf certificate: below this, renewal at half of it would run into the clock's granularity.
const SHORTEST_LEAF: Duration = Duration::from_secs(5);

pub(super) struct Decided {
    pub(super) mtls: Mtls,
    pub(super) leaf_lifetime_seconds: u64,
    pub(super) state_dir: PathBuf,
}

pub(super) fn decide(
    arguments: &SuperviseArgs,
    environment: &Environment,
    configured: Option<bool>,
    warnings: &mut Vec<String>,
) -> Result<Decided, Refusal> {
    let state_dir = match &arguments.own.state_dir {
        Some(dir) => environment.directory.join(dir),
        None => host::state_dir(&|name| environment.variable(name)),
    };
    let leaf = arguments.own.leaf_lifetime();
    if leaf < SHORTEST_LEAF {
        return Err(Refusal(format!(
            "--leaf-lifetime is {leaf:?}; expected at least {SHORTEST_LEAF:?}, such as 24h"
        )));
    }
    let mtls = match arguments.mode {
        Mode::Run => in_run(arguments, environment, &state_dir, configured, warnings),
        Mode::Daprd => in_daprd(arguments, environment, configured, warnings),
    }?;
    Ok(Decided { mtls, leaf_lifetime_seconds: leaf.as_secs(), state_dir })
}

fn in_run(
    arguments: &SuperviseArgs,
    environment: &Environment,
    state_dir: &std::path::Path,
    configured: Option<bool>,
    warnings: &mut Vec<String>,
) -> Result<Mtls, Refusal> {
    let flag = arguments.flags.enable_mtls;
    let off = arguments.no_mtls || flag == Some(false);
    if off && (flag == Some(true) || configured == Some(true)) {
        return Err(Refusal(
            "mTLS is asked for (--enable-mtls or spec.mtls.enabled) and switched off (--no-mtls); drop one of them"
                .into(),
        ));
    }
    if off {
        return Ok(Mtls::Off);
    }
    if configured == Some(false) {
        warnings.push(
            "spec.mtls.enabled is false, but `run` keeps mTLS on; --no-mtls switches it off".to_owned(),
        );
    }
    if let Some(dir) = &arguments.own.issuer_credentials {
        return Ok(Mtls::Files { dir: environment.directory.join(dir) });
    }
    if !arguments.flags.sentry_address.is_empty() {
        return Err(no_sentry_yet());
    }
    Ok(Mtls::Own { dir: state_dir.join("ca") })
}

fn in_daprd(
    arguments: &SuperviseArgs,
    environment: &Environment,
    configured: Option<bool>,
    warnings: &mut Vec<String>,
) -> Result<Mtls, Refusal> {
    let on = arguments.flags.enable_mtls == Some(true);
    match &arguments.own.issuer_credentials {
        Some(dir) if on => Ok(Mtls::Files { dir: environment.directory.join(dir) }),
        Some(_) => Err(Refusal(
            "--issuer-credentials is given but mTLS is off; add --enable-mtls, or drop it".into(),
        )),
        None if on => Err(no_sentry_yet()),
        None => {
            if configured == Some(true) {
                warnings.push(
                    "spec.mtls.enabled is true, but daprd's only switch is --enable-mtls: mTLS is off"
                        .to_owned(),
                );
            }
            Ok(Mtls::Off)
        }
    }
}

/// Silently falling back to plain text, or to another authority, would weaken what was asked for.
fn no_sentry_yet() -> Refusal {
    Refusal(
        "mTLS is asked for, but certificates from a Sentry are not built yet; give the directory with Sentry's ca.crt, \
         issuer.crt and issuer.key with --issuer-credentials DIR, or use `outrigger run` with its own authority"
            .into(),
    )
}
