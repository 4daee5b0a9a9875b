//! Which ways of looking for names there are, and being found by them.

use super::House;
use crate::resolve::dns_sd::DnsSd;
use crate::resolve::mdns::{Mdns, Scope};
use crate::resolve::registry::Registry;
use crate::resolve::table::Table;
use crate::resolve::{Own, Resolver, Way};
use crate::settings::Settings;
use proto::log::Level;
use proto::snapshot::AppRef;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::watch;

/// The ways that the settings name, and what is wrong with those that cannot be used. Needs a tokio runtime.
pub(super) fn of(settings: &Settings) -> (Resolver, Vec<String>) {
    let (mut ways, mut troubles): (Vec<Arc<dyn Way>>, _) = (Vec::new(), Vec::new());
    let wanted = &settings.resolution;
    if let Some(file) = &wanted.table {
        match Table::load(file) {
            Ok(table) => ways.push(Arc::new(table)),
            Err(e) => troubles.push(format!("names from a table: {e}")),
        }
    }
    if let Some(dir) = &wanted.registry {
        match Registry::open(dir) {
            Ok(registry) => ways.push(Arc::new(registry)),
            Err(e) => troubles.push(e.to_string()),
        }
    }
    if wanted.mdns {
        let scope = if wanted.advertise.is_loopback() { Scope::Loopback } else { Scope::All };
        match Mdns::start(scope) {
            Ok(mdns) => ways.push(Arc::new(mdns)),
            Err(e) => troubles.push(format!("names by mDNS: {e}")),
        }
        match DnsSd::start(scope) {
            Ok(dns_sd) => ways.push(Arc::new(dns_sd)),
            Err(e) => troubles.push(format!("names by DNS-SD: {e}")),
        }
    }
    (Resolver::new(ways), troubles)
}

/// The name under which this sidecar is found. The supervisor's process id names the sidecar as a whole: it stays while
/// control is restarted.
fn own(house: &House) -> Own {
    let settings = &house.settings;
    let pid = if house.supervised { std::os::unix::process::parent_id() } else { std::process::id() };
    Own {
        app: AppRef { app_id: settings.app_id.clone(), namespace: settings.namespace.clone() },
        address: SocketAddr::new(settings.resolution.advertise, settings.ports.internal),
        host_name: settings.host_name.clone(),
        pid,
    }
}

/// Registers and withdraws as `present` says; never ends.
pub(super) async fn be_present(house: Arc<House>, mut present: watch::Receiver<bool>) {
    let own = own(&house);
    while present.changed().await.is_ok() {
        if !*present.borrow_and_update() {
            house.names.resolver().withdraw().await;
            continue;
        }
        for (way, e) in house.names.resolver().register(&own).await {
            house.trouble(format!("{way}: this sidecar cannot be found: {e}"));
        }
        let line = format!("{} is found at {}", own.app.app_id, own.address);
        house.voice.line(Level::Debug, "dapr.runtime", &line);
    }
}
