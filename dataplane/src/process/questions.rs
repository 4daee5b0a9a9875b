//! What the app itself is asked: `/dapr/config` once it listens, and its health from then on.

use crate::app::{self, App};
use crate::log::{self, RUNTIME};
use crate::rt;
use crate::shard::{Shard, View};
use proto::policy::health::Health;
use proto::snapshot::{AppProtocol, HealthProbe};
use std::rc::Rc;
use std::time::Duration;

/// How long the app may take to answer `/dapr/config`; nothing depends on the answer.
const CONFIG_TIME: Duration = Duration::from_secs(5);

/// Scope of lines about the app's health.
const HEALTH: &str = "dapr.apphealth";

/// Asks for `/dapr/config` as daprd does; only actors would need the answer. While health is probed the app does not count
/// as healthy yet at this time, and is not asked (vector start/config-probe-with-unhealthy-app).
pub(super) async fn ask_for_config(view: &View, app: &Rc<App>) {
    let channel = app.channel();
    if !channel.asks_config || channel.health.is_some() || !speaks_http(channel.protocol) {
        return;
    }
    let mut lines: Vec<(&str, &[u8])> = vec![
        ("Content-Type", b"application/json"),
        ("Dapr-App-Id", view.snapshot.workload.app_id.as_bytes()),
    ];
    lines.extend(channel.token.as_ref().map(|token| ("Dapr-Api-Token", token.as_bytes())));
    match app::ask(app, "/dapr/config", &lines, rt::now() + CONFIG_TIME).await {
        Ok(status) => log::debug(RUNTIME, format_args!("the app answered /dapr/config with {status}")),
        Err(error) => log::debug(RUNTIME, format_args!("the app did not answer /dapr/config: {error}")),
    }
}

fn speaks_http(protocol: AppProtocol) -> bool {
    matches!(protocol, AppProtocol::Http | AppProtocol::Https | AppProtocol::H2c)
        && App::unsupported(protocol).is_none()
}

/// Closes the gate where the app is to be probed: it takes no calls before its first good answer.
pub(super) fn expect_health(shard: &Shard) {
    let probed = |app: &Rc<App>| app.channel().health.is_some() && speaks_http(app.channel().protocol);
    shard.common.gate.set(!shard.view().app.as_ref().is_some_and(probed));
}

/// Probes the app for ever, as the snapshot in force says.
pub(super) async fn watch_health(shard: Rc<Shard>) {
    let mut now: Option<(HealthProbe, Health)> = None;
    loop {
        let app = shard.view().app.clone().filter(|app| speaks_http(app.channel().protocol));
        let Some((app, probe)) = app.and_then(|app| Some((app.clone(), app.channel().health.clone()?)))
        else {
            now = None;
            shard.common.gate.set(true);
            shard.changed().await;
            continue;
        };
        let (_, health) = match &mut now {
            Some(now) if now.0 == probe => now,
            _ => {
                log::info(HEALTH, "App health probes starting");
                shard.common.gate.set(false);
                now.insert((probe.clone(), Health::new(probe.threshold)))
            }
        };
        let began = rt::now();
        let answer = app::ask(&app, &probe.path, &[], began + probe.timeout).await;
        conclude(&shard, health, answer);
        rt::sleep_until(began + probe.interval).await;
    }
}

fn conclude(shard: &Shard, health: &mut Health, answer: std::io::Result<u16>) {
    let well = matches!(answer, Ok(200..=299));
    if !health.probed(well) {
        return;
    }
    shard.common.gate.set(health.is_healthy());
    match answer {
        Ok(_) if well => log::info(HEALTH, "App entered healthy status"),
        Ok(status) => {
            let why =
                format_args!("App entered un-healthy status: Health check failed with status code: {status}");
            log::warn(HEALTH, why);
        }
        Err(error) => log::warn(HEALTH, format_args!("App entered un-healthy status: {error}")),
    }
}
