//! The snapshot as control holds it: one writer at a time, every change a new version, everybody else follows.

use crate::settings::{ApiRule, App, Protocol, Settings};
use proto::api::cors::Origins;
use proto::api::rules::{Rule, Rules};
use proto::snapshot::{
    Api, ApiLogging, AppAddress, AppChannel, AppProtocol, HealthProbe, HttpEndpoints, Limits, Snapshot,
    Workload,
};
use proto::trace::sampler::Sampler;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// The snapshot in its newest version.
#[derive(Debug)]
pub struct Picture {
    now: watch::Sender<Arc<Snapshot>>,
}

impl Picture {
    /// Begins with `first`.
    pub fn new(first: Snapshot) -> Picture {
        Picture { now: watch::Sender::new(Arc::new(first)) }
    }

    /// The newest version.
    pub fn now(&self) -> Arc<Snapshot> {
        Arc::clone(&self.now.borrow())
    }

    /// Tells of every later version; the newest may stand for several.
    pub fn follow(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.now.subscribe()
    }

    /// Makes a new version, unless `change` changes nothing.
    pub fn change(&self, change: impl FnOnce(&mut Snapshot)) {
        self.now.send_if_modified(|now| {
            let mut next = (**now).clone();
            change(&mut next);
            let changed = next != **now;
            if changed {
                next.version += 1;
                *now = Arc::new(next);
            }
            changed
        });
    }

    /// Numbers on above a version that a data plane still serves from before control was restarted.
    pub fn pass(&self, served: u64) {
        self.now.send_if_modified(|now| {
            let behind = now.version <= served;
            if behind {
                *now = Arc::new(Snapshot { version: served.saturating_add(1), ..(**now).clone() });
            }
            behind
        });
    }
}

/// What the settings say, with what is secret and so not among them: tokens from the environment, endpoints from the
/// resource files. The identity comes later.
pub(super) fn first(
    settings: &Settings,
    endpoints: HttpEndpoints,
    variable: impl Fn(&str) -> Option<String>,
) -> Snapshot {
    let token = |name: &str| variable(name).filter(|token| !token.is_empty());
    Snapshot {
        version: 1,
        workload: Arc::new(workload(settings)),
        app: settings.app.as_ref().map(|app| Arc::new(app_channel(app, token("APP_API_TOKEN")))),
        api: Arc::new(api(settings, token("DAPR_API_TOKEN"))),
        limits: Arc::new(limits(settings)),
        http_endpoints: Arc::new(endpoints),
        ..Snapshot::default()
    }
}

fn workload(settings: &Settings) -> Workload {
    Workload {
        app_id: settings.app_id.clone(),
        namespace: settings.namespace.clone(),
        trust_domain: settings.trust_domain.clone(),
        host_address: settings.host_address.to_string(),
        host_name: settings.host_name.clone(),
        internal_port: settings.ports.internal,
        mtls: settings.mtls.is_on(),
    }
}

fn api(settings: &Settings, token: Option<String>) -> Api {
    let logging = &settings.api_logging;
    let rules = |rules: &[ApiRule]| {
        rules.iter().map(|rule| Rule { name: rule.name.clone(), version: rule.version.clone() }).collect()
    };
    Api {
        token,
        tracing: settings.sampling_rate > 0.0,
        new_traces: settings.begins_traces.then(|| Sampler::new(settings.sampling_rate)),
        origins: Origins::parse(&settings.allowed_origins),
        rules: Rules { allowed: rules(&settings.api.allowed), denied: rules(&settings.api.denied) },
        logging: logging.enabled.then_some(ApiLogging {
            obfuscate_urls: logging.obfuscate_urls,
            omit_health_checks: logging.omit_health_checks,
        }),
    }
}

fn app_channel(app: &App, token: Option<String>) -> AppChannel {
    AppChannel {
        address: match &app.socket {
            Some(path) => AppAddress::Unix(path.to_string_lossy().into_owned()),
            None => AppAddress::Tcp { host: app.host.clone(), port: app.port },
        },
        protocol: match app.protocol {
            Protocol::Http => AppProtocol::Http,
            Protocol::Https => AppProtocol::Https,
            Protocol::H2c => AppProtocol::H2c,
            Protocol::Grpc => AppProtocol::Grpc,
            Protocol::Grpcs => AppProtocol::Grpcs,
        },
        max_concurrency: app.max_concurrency,
        token,
        health: app.health.as_ref().map(|probe| HealthProbe {
            path: probe.path.clone(),
            interval: Duration::from_millis(probe.interval_ms),
            timeout: Duration::from_millis(probe.timeout_ms),
            threshold: probe.threshold,
        }),
        asks_config: app.asks_config,
    }
}

fn limits(settings: &Settings) -> Limits {
    let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    Limits {
        max_body: settings.limits.max_body,
        max_head: size(settings.limits.max_head),
        max_replay_body: size(settings.limits.max_replay_body),
        grace: settings.limits.grace(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_makes_a_version_and_no_change_makes_none() {
        let picture = Picture::new(Snapshot { version: 1, ..Snapshot::default() });
        let mut follow = picture.follow();
        follow.mark_unchanged();
        picture.change(|_| {});
        assert!(!follow.has_changed().unwrap());
        picture.change(|next| next.api = Arc::new(Api { token: None, tracing: true, ..Api::default() }));
        assert_eq!((picture.now().version, follow.has_changed().unwrap()), (2, true));
    }

    #[test]
    fn versions_go_on_above_what_a_data_plane_served_before() {
        let picture = Picture::new(Snapshot { version: 1, ..Snapshot::default() });
        picture.pass(41);
        assert_eq!(picture.now().version, 42);
        picture.pass(3);
        assert_eq!(picture.now().version, 42);
    }
}
