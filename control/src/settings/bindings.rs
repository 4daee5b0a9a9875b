//! Which sockets a sidecar listens on.

use super::decide::{At, Binding, Role, WhenTaken};
use super::judge::Asked;
use super::{Mode, Settings};
use crate::cli::SuperviseArgs;
use std::path::Path;

/// Every socket to be opened, in the order of opening.
pub(super) fn of(arguments: &SuperviseArgs, settings: &Settings, ports: &Asked) -> Vec<Binding> {
    let flags = &arguments.flags;
    let mut all = http(arguments, ports);
    if let Some(port) = ports.profile {
        all.extend(on_listen_addresses(arguments, Role::Profile, "profile-port", port));
    }
    all.push(Binding {
        role: Role::Internal,
        flag: "dapr-internal-grpc-port",
        at: tcp(&flags.dapr_internal_grpc_listen_address, ports.internal),
        when_taken: if ports.internal_given { WhenTaken::Fail } else { WhenTaken::AnyPort },
    });
    if let Some(port) = ports.public {
        all.push(fixed(Role::Public, "dapr-public-port", &flags.dapr_public_listen_address, port));
    }
    if let Some(metrics) = &settings.metrics {
        all.push(fixed(Role::Metrics, "metrics-port", &metrics.listen, ports.metrics));
    }
    all
}

fn http(arguments: &SuperviseArgs, ports: &Asked) -> Vec<Binding> {
    let flags = &arguments.flags;
    if !flags.unix_domain_socket.is_empty() {
        let path = Path::new(&flags.unix_domain_socket).join(format!("dapr-{}-http.socket", flags.app_id));
        let at = At::Unix(path);
        return vec![Binding {
            role: Role::Http,
            flag: "unix-domain-socket",
            at,
            when_taken: WhenTaken::Fail,
        }];
    }
    on_listen_addresses(arguments, Role::Http, "dapr-http-port", ports.http)
}

/// One socket for each of `--dapr-listen-addresses`.
fn on_listen_addresses(arguments: &SuperviseArgs, role: Role, flag: &'static str, port: u16) -> Vec<Binding> {
    let flags = &arguments.flags;
    let listed: Vec<&str> =
        flags.dapr_listen_addresses.split(',').map(str::trim).filter(|a| !a.is_empty()).collect();
    let hosts: Vec<&str> = match (listed.is_empty(), arguments.mode) {
        // The API without a token is for this host only, unless somebody says otherwise.
        (true, Mode::Run) => vec!["127.0.0.1", "[::1]"],
        (true, Mode::Daprd) => vec![""],
        (false, _) => listed,
    };
    let several = hosts.len() > 1;
    let when = |index: usize| {
        if arguments.mode == Mode::Run && index == 0 || !several { WhenTaken::Fail } else { WhenTaken::Skip }
    };
    hosts
        .iter()
        .enumerate()
        .map(|(index, host)| Binding { role, flag, at: tcp(host, port), when_taken: when(index) })
        .collect()
}

fn fixed(role: Role, flag: &'static str, host: &str, port: u16) -> Binding {
    Binding { role, flag, at: tcp(host, port), when_taken: WhenTaken::Fail }
}

fn tcp(host: &str, port: u16) -> At {
    At::Tcp { host: host.to_owned(), port }
}
