//! Standard DNS-SD (RFC 6763) through the `mdns-sd` crate: `_outrigger._tcp.local.`, which every browser of services shows.
//!
//! A second way beside daprd's records: namespaces are part of what is announced, and any tool can look. The browser starts at the first
//! lookup; from then on it knows every instance of the network, at most [`MOST_INSTANCES`].

use super::mdns::Scope;
use super::way::{Own, Pending, Way};
use mdns_sd::{IfKind, Receiver, ResolvedService, ServiceDaemon, ServiceEvent, ServiceInfo};
use proto::snapshot::AppRef;
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The service type.
pub const SERVICE: &str = "_outrigger._tcp.local.";
/// How long a lookup waits for the first instance.
pub const PATIENCE: Duration = Duration::from_secs(1);
/// Most instances remembered.
pub const MOST_INSTANCES: usize = 4096;
/// Longest wait for the goodbye to be sent.
const GOODBYE: Duration = Duration::from_secs(1);
/// How often the interfaces are looked at, seconds.
const INTERFACE_CHECK: u32 = 30;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Instance {
    app: AppRef,
    addresses: Vec<SocketAddr>,
}

struct Shared {
    /// By full name.
    instances: Mutex<BTreeMap<String, Instance>>,
    changed: watch::Sender<u64>,
}

/// A running responder and browser. Dropping it stops both.
pub struct DnsSd {
    daemon: ServiceDaemon,
    shared: Arc<Shared>,
    own: Mutex<Option<String>>,
    browser: Mutex<Option<JoinHandle<()>>>,
}

impl Drop for DnsSd {
    fn drop(&mut self) {
        if let Some(browser) = lock(&self.browser).take() {
            browser.abort();
        }
        let _ = self.daemon.shutdown();
    }
}

fn lock<T>(it: &Mutex<T>) -> MutexGuard<'_, T> {
    it.lock().unwrap_or_else(PoisonError::into_inner)
}

fn failed(error: mdns_sd::Error) -> io::Error {
    io::Error::other(error.to_string())
}

impl DnsSd {
    /// Starts the daemon's thread on the interfaces of `scope`.
    ///
    /// # Errors
    /// When its sockets cannot be opened.
    pub fn start(scope: Scope) -> io::Result<DnsSd> {
        let daemon = ServiceDaemon::new().map_err(failed)?;
        daemon.set_ip_check_interval(INTERFACE_CHECK).map_err(failed)?;
        if scope == Scope::Loopback {
            daemon.disable_interface(IfKind::All).map_err(failed)?;
            daemon.enable_interface(vec![IfKind::LoopbackV4, IfKind::LoopbackV6]).map_err(failed)?;
        }
        let shared = Arc::new(Shared { instances: Mutex::default(), changed: watch::Sender::new(0) });
        Ok(DnsSd { daemon, shared, own: Mutex::default(), browser: Mutex::default() })
    }

    /// Starts to look for every instance, once.
    fn browse(&self) -> Result<(), mdns_sd::Error> {
        let mut browser = lock(&self.browser);
        if browser.is_none() {
            let events = self.daemon.browse(SERVICE)?;
            *browser = Some(tokio::spawn(follow(events, self.shared.clone())));
        }
        Ok(())
    }

    async fn look(&self, app: &AppRef) -> Result<Vec<SocketAddr>, String> {
        let mut changes = self.shared.changed.subscribe();
        self.browse().map_err(|e| e.to_string())?;
        let found = changes.wait_for(|_| !self.shared.known(app).is_empty());
        match tokio::time::timeout(PATIENCE, found).await {
            Ok(_) => Ok(self.shared.known(app)),
            Err(_) => Err(format!("no answer in {} s", PATIENCE.as_secs())),
        }
    }

    async fn say_goodbye(&self) {
        let Some(name) = lock(&self.own).take() else { return };
        if let Ok(done) = self.daemon.unregister(&name) {
            let _ = tokio::time::timeout(GOODBYE, done.recv_async()).await;
        }
    }
}

impl Way for DnsSd {
    fn name(&self) -> &'static str {
        "dns-sd"
    }

    fn register<'a>(&'a self, own: &'a Own) -> Pending<'a, io::Result<()>> {
        Box::pin(async {
            let service = service(own).map_err(failed)?;
            let name = service.get_fullname().to_owned();
            self.daemon.register(service).map_err(failed)?;
            *lock(&self.own) = Some(name);
            Ok(())
        })
    }

    fn withdraw(&self) -> Pending<'_, ()> {
        Box::pin(self.say_goodbye())
    }

    fn resolve<'a>(&'a self, app: &'a AppRef) -> Pending<'a, Result<Vec<SocketAddr>, String>> {
        Box::pin(self.look(app))
    }

    fn known(&self, app: &AppRef) -> Vec<SocketAddr> {
        self.shared.known(app)
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.shared.changed.subscribe()
    }
}

impl Shared {
    /// The addresses of `app`, each once, in a stable order.
    fn known(&self, app: &AppRef) -> Vec<SocketAddr> {
        let instances = lock(&self.instances);
        let of_app = instances.values().filter(|it| it.app == *app);
        let mut all: Vec<SocketAddr> = of_app.flat_map(|it| it.addresses.iter().copied()).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    fn take(&self, event: ServiceEvent) {
        let mut instances = lock(&self.instances);
        let changed = match event {
            ServiceEvent::ServiceResolved(service) => match instance(&service) {
                Some(it) if instances.len() < MOST_INSTANCES || instances.contains_key(&service.fullname) => {
                    instances.insert(service.fullname.clone(), it.clone()) != Some(it)
                }
                _ => false,
            },
            ServiceEvent::ServiceRemoved(_, name) => instances.remove(&name).is_some(),
            _ => false,
        };
        drop(instances);
        if changed {
            self.changed.send_modify(|n| *n += 1);
        }
    }
}

async fn follow(events: Receiver<ServiceEvent>, shared: Arc<Shared>) {
    while let Ok(event) = events.recv_async().await {
        shared.take(event);
    }
}

/// What an instance announces: its app and namespace stand in the TXT record, whatever its name is.
fn instance(service: &ResolvedService) -> Option<Instance> {
    let property = |key: &str| service.get_property_val_str(key).map(str::to_owned);
    let app = AppRef { app_id: property("app")?, namespace: property("ns")? };
    let addresses = service.addresses.iter().map(|ip| SocketAddr::new(ip.to_ip_addr(), service.port));
    // a link-local address means nothing without the interface it was heard on
    let addresses: Vec<SocketAddr> = addresses.filter(|a| !is_link_local(&a.ip())).collect();
    (!addresses.is_empty()).then_some(Instance { app, addresses })
}

fn is_link_local(ip: &IpAddr) -> bool {
    matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local())
}

fn service(own: &Own) -> Result<ServiceInfo, mdns_sd::Error> {
    let unique = format!("{}-{}-{}", label(&own.host_name, 20), own.pid, own.address.port());
    let name = format!("{}-{unique}", label(&own.app.app_id, 20));
    let host = format!("outrigger-{unique}.local.");
    let properties = [("app", own.app.app_id.as_str()), ("ns", own.app.namespace.as_str())];
    ServiceInfo::new(SERVICE, &name, &host, own.address.ip(), own.address.port(), &properties[..])
}

/// The beginning of a name as a part of a DNS label. The host's name is not taken as it is: a responder of the system
/// may own it, with other addresses.
fn label(text: &str, most: usize) -> String {
    let fit = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    text.chars().take(most).map(fit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(app_id: &str, namespace: &str, port: u16) -> Own {
        Own {
            app: AppRef { app_id: app_id.into(), namespace: namespace.into() },
            address: ([127, 0, 0, 1], port).into(),
            host_name: "a.host".into(),
            pid: std::process::id(),
        }
    }

    async fn seen(way: &DnsSd, app: &AppRef) -> Vec<SocketAddr> {
        // a responder probes for up to a second before it announces
        for _ in 0..10 {
            if let Ok(found) = way.resolve(app).await {
                return found;
            }
        }
        Vec::new()
    }

    #[tokio::test]
    async fn two_on_loopback_find_each_other_by_app_and_namespace_until_the_goodbye() {
        let (Ok(callee), Ok(caller)) = (DnsSd::start(Scope::Loopback), DnsSd::start(Scope::Loopback)) else {
            eprintln!("SKIPPED: no multicast on the loopback interface here");
            return;
        };
        let app_id = format!("dns-sd.{}", std::process::id());
        let own = own(&app_id, "default", 4100);
        callee.register(&own).await.unwrap();
        assert_eq!(seen(&caller, &own.app).await, [own.address]);
        let elsewhere = AppRef { namespace: "prod".into(), ..own.app.clone() };
        assert_eq!(caller.resolve(&elsewhere).await.unwrap_err(), "no answer in 1 s");
        let mut changes = caller.changes();
        callee.withdraw().await;
        let gone = changes.wait_for(|_| caller.known(&own.app).is_empty());
        tokio::time::timeout(Duration::from_secs(20), gone).await.expect("the goodbye arrives").unwrap();
    }

    #[test]
    fn names_fit_into_a_label_whatever_the_app_is_called() {
        let long = own(&"x".repeat(200), "default", 65535);
        let service = service(&long).unwrap();
        let label = service.get_fullname().strip_suffix(&format!(".{SERVICE}")).unwrap();
        assert!(label.len() <= 63 && label.ends_with("-65535"), "{label}");
        assert!(service.get_hostname().starts_with("outrigger-a-host-"));
        assert_eq!(service.get_property_val_str("ns"), Some("default"));
    }
}
