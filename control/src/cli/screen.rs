//! `status`: asks a running sidecar and shows the answer on one screen.

use super::{StatusArgs, out, paint::Paint};
use crate::settings::Environment;
use crate::status::{self, Document};
use crate::supervisor;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Routes shown on the screen; `--json` has all.
const MOST_ROUTES: usize = 20;

pub(super) fn run(arguments: &StatusArgs) -> i32 {
    let asked = chosen(arguments).and_then(|runtime| {
        let answer = status::ask(&runtime);
        answer.map_err(|error| format!("{}: no answer from this sidecar: {error}", runtime.display()))
    });
    match asked {
        Ok(document) if arguments.json => match serde_json::to_string_pretty(&document) {
            Ok(text) => out(&format!("{text}\n")),
            Err(error) => super::complain(&error.to_string()),
        },
        Ok(document) => out(&screen(&document, unix_seconds(), Paint::for_stdout())),
        Err(reason) => super::complain(&reason),
    }
}

/// The runtime directory that is meant.
fn chosen(arguments: &StatusArgs) -> Result<PathBuf, String> {
    if let Some(runtime) = &arguments.runtime {
        return Ok(runtime.clone());
    }
    let base = Environment::of_process().runtime_base();
    let all = supervisor::live(&base);
    let named: Vec<&PathBuf> = match &arguments.app_id {
        Some(id) => all.iter().filter(|dir| is_of(dir, id)).collect(),
        None => all.iter().collect(),
    };
    match (named.as_slice(), &arguments.app_id) {
        ([one], _) => Ok((*one).clone()),
        ([], Some(id)) => {
            Err(format!("no sidecar of app {id:?} runs here for this user (looked in {})", base.display()))
        }
        ([], None) => Err(format!(
            "no sidecar runs here for this user (looked in {}); start one with `outrigger run --app-id NAME`, or try `outrigger demo`",
            base.display()
        )),
        (several, _) => {
            let list: Vec<String> =
                several.iter().map(|dir| format!("  --runtime {}", dir.display())).collect();
            Err(format!("several sidecars run here; choose one:\n{}", list.join("\n")))
        }
    }
}

/// `orders-4711`, and `orders-4711-1` where that name was taken.
fn is_of(dir: &Path, app_id: &str) -> bool {
    let name = dir.file_name().unwrap_or_default().to_string_lossy();
    let short: String = app_id.chars().filter(char::is_ascii).take(40).collect();
    name.strip_prefix(&format!("{short}-"))
        .is_some_and(|rest| !rest.is_empty() && rest.chars().all(|c| c.is_ascii_digit() || c == '-'))
}

fn unix_seconds() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// The screen, as text. Writing to a string cannot fail.
fn screen(document: &Document, now: i64, paint: Paint) -> String {
    let mut text = String::new();
    head(&mut text, document, now, paint);
    processes(&mut text, document, paint);
    identity(&mut text, document, now, paint);
    routes(&mut text, document, paint);
    counts(&mut text, document, paint);
    for warning in &document.warnings {
        let _ = writeln!(text, "{} {warning}", paint.yellow("warning"));
    }
    text
}

fn head(text: &mut String, document: &Document, now: i64, paint: Paint) {
    let sidecar = &document.sidecar;
    let started = i64::try_from(sidecar.started_unix_ms / 1000).unwrap_or(now);
    let _ = writeln!(
        text,
        "{}  namespace {}  outrigger {} ({})  up {}",
        paint.bold(&sidecar.app_id),
        sidecar.namespace,
        sidecar.version,
        sidecar.mode,
        span(now.saturating_sub(started))
    );
    let app = if sidecar.app.is_empty() { "none" } else { &sidecar.app };
    let _ = writeln!(text, "app        {app}");
    let listens: Vec<String> = sidecar.listens.iter().map(|(role, at)| format!("{role} {at}")).collect();
    let _ = writeln!(text, "listens    {}  announced as {}", listens.join("  "), sidecar.address);
}

fn processes(text: &mut String, document: &Document, paint: Paint) {
    let list: Vec<String> = document
        .processes
        .iter()
        .map(|process| format!("{} {} ({} MiB)", process.name, process.id, process.resident >> 20))
        .collect();
    let _ = writeln!(text, "processes  {}", list.join("  "));
    let plane = &document.data_plane;
    let state = match (plane.connected, plane.applied == plane.snapshot) {
        (false, _) => paint.yellow("not connected to control, serves what it knew"),
        (true, true) => paint.green("up to date"),
        (true, false) => paint.yellow(&format!("is at version {}", plane.applied)),
    };
    let _ = writeln!(text, "snapshot   version {}, data plane {state}", plane.snapshot);
    if !plane.refused.is_empty() {
        let _ = writeln!(text, "           {} {}", paint.red("refused:"), plane.refused);
    }
    let _ = writeln!(text, "backend    {}, {} shard(s)", plane.backend, plane.shards);
}

fn identity(text: &mut String, document: &Document, now: i64, paint: Paint) {
    let Some(identity) = &document.identity else {
        let _ = writeln!(text, "mTLS       {}", paint.yellow("off: peers are not authenticated"));
        return;
    };
    let _ = writeln!(text, "mTLS       on, {}", identity.id);
    for certificate in &identity.certificates {
        let left = certificate.not_after.saturating_sub(now);
        let left = if left > 0 { format!("expires in {}", span(left)) } else { paint.red("expired") };
        let _ = writeln!(text, "           {:<12} {left}  {}", certificate.role, certificate.subject);
    }
}

fn routes(text: &mut String, document: &Document, paint: Paint) {
    let _ = writeln!(text, "names      found by {}", document.resolution.join(", "));
    for route in document.routes.iter().take(MOST_ROUTES) {
        if route.endpoints.is_empty() {
            let _ =
                writeln!(text, "  {:<20} {} {}", route.app, paint.red("not found:"), route.tried.join("; "));
        }
        for endpoint in &route.endpoints {
            let health =
                if endpoint.health == "live" { paint.green("live") } else { paint.red(&endpoint.health) };
            let _ = writeln!(
                text,
                "  {:<20} {:<24} {health}  by {}  {} connection(s)",
                route.app, endpoint.address, endpoint.way, endpoint.connections
            );
        }
    }
    if document.routes.len() > MOST_ROUTES {
        let _ = writeln!(text, "  … and {} more (--json has all)", document.routes.len() - MOST_ROUTES);
    }
}

fn counts(text: &mut String, document: &Document, paint: Paint) {
    for call in &document.calls {
        let failed = format!("{} failed", call.failed);
        let failed = if call.failed == 0 { failed } else { paint.red(&failed) };
        let _ = write!(
            text,
            "{:<10} {} calls, {failed}, {} in flight",
            call.direction, call.total, call.in_flight
        );
        if let Some(latency) = call.latency {
            let _ =
                write!(text, ", p50 {} µs, p99 {} µs, p99.9 {} µs", latency.p50, latency.p99, latency.p999);
        }
        text.push('\n');
    }
    for (name, count) in &document.counts {
        let _ = writeln!(text, "           {count} {name}");
    }
}

/// A span of time in its two largest units.
fn span(seconds: i64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} min {} s", seconds % 60),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::{Call, Certificate, EndpointStatus, IdentityStatus, PeerRoute};

    fn document() -> Document {
        let mut document = Document::default();
        document.sidecar.app_id = "orders".into();
        document.data_plane.connected = true;
        document.data_plane.backend = "io_uring".into();
        document.routes = vec![
            PeerRoute {
                app: "stock".into(),
                endpoints: vec![EndpointStatus {
                    address: "10.0.0.1:50002".into(),
                    way: "mdns".into(),
                    health: "live".into(),
                    connections: 1,
                }],
                tried: vec![],
            },
            PeerRoute { app: "gone".into(), tried: vec!["mdns: no answer".into()], ..PeerRoute::default() },
        ];
        document.calls = vec![Call { direction: "outbound".into(), total: 3, ..Call::default() }];
        document
    }

    #[test]
    fn the_screen_shows_names_peers_and_counts_without_colour_in_a_pipe() {
        let text = screen(&document(), 100, Paint::plain());
        for expected in [
            "orders  namespace",
            "10.0.0.1:50002",
            "live  by mdns  1 connection(s)",
            "not found: mdns: no answer",
            "outbound   3 calls, 0 failed",
            "mTLS       off",
            "backend    io_uring",
        ] {
            assert!(text.contains(expected), "{expected}\n{text}");
        }
        assert!(!text.contains('\u{1b}'), "{text}");
    }

    #[test]
    fn certificates_show_what_is_left_of_their_life() {
        let mut document = document();
        let certificate =
            |role: &str, not_after| Certificate { role: role.into(), subject: "x".into(), not_after };
        document.identity = Some(IdentityStatus {
            id: "spiffe://public/ns/default/orders".into(),
            certificates: vec![certificate("leaf", 3700), certificate("issuer", 50)],
        });
        let text = screen(&document, 100, Paint::plain());
        assert!(text.contains("leaf         expires in 1 h 0 min"), "{text}");
        assert!(text.contains("issuer       expired"), "{text}");
    }

    #[test]
    fn a_runtime_directory_belongs_to_its_app_only() {
        assert!(is_of(Path::new("/r/orders-47"), "orders"));
        assert!(is_of(Path::new("/r/orders-47-1"), "orders"));
        assert!(!is_of(Path::new("/r/orders-new-47"), "orders"));
        assert!(!is_of(Path::new("/r/orders-"), "orders"));
    }

    #[test]
    fn documents_of_other_versions_are_read() {
        let read: Document = serde_json::from_str(r#"{"sidecar":{"app_id":"a"},"future":[1]}"#).unwrap();
        assert_eq!(read.sidecar.app_id, "a");
    }
}
