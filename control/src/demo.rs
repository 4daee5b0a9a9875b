//! Two apps and two sidecars on one machine, and the call between them step by step.
//!
//! Everything shown is told by those it happened to: the sidecars' own step lines, and the two apps.

mod apps;
mod multicast;
mod pair;
mod steps;

use crate::cli::paint::Paint;
use crate::cli::{DemoArgs, complain, flags::Switch, out};
use crate::status;
use apps::{Seen, now_us};
use pair::{Ground, Names, Sidecar};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};
use steps::{Board, Told};

const A: &str = "service-a";
const B: &str = "service-b";
/// How long a step may keep the next one waiting.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs the demonstration; returns the exit code.
pub fn run(arguments: &DemoArgs) -> i32 {
    let began = Instant::now();
    match demonstrate(arguments, began) {
        Ok(()) => 0,
        Err(reason) => complain(&reason),
    }
}

fn demonstrate(arguments: &DemoArgs, began: Instant) -> Result<(), String> {
    // Listened for from the beginning, so that Ctrl-C never leaves anything behind.
    let asked_to_end = signals()?;
    let (tell, told) = channel();
    let (tell_seen, seen) = channel();
    let app_b = apps::start_b(tell_seen).map_err(|e| format!("app B cannot listen: {e}"))?;
    forward(seen, tell.clone())?;
    let ground = Ground::new(names(arguments)).map_err(|e| e.to_string())?;
    let start = |id: &str, port| {
        ground
            .start(id, port, tell.clone())
            .map_err(|e| format!("the sidecar of {id} cannot be started: {e}"))
    };
    let app_b_id = ground.app_id(B);
    let mut b = start(&app_b_id, Some(app_b))?;
    let mut a = start(&ground.app_id(A), None)?;
    b.ready("/v1.0/healthz")?;
    let settings = a.ready("/v1.0/healthz")?;
    let scene = Scene {
        port: settings.ports.http.ok_or("sidecar A has no HTTP port")?,
        metrics: settings.metrics.map_or(0, |metrics| metrics.port),
        runtime: a.runtime(),
        callee: app_b_id,
        paint: Paint::for_stdout(),
    };
    out(&format!(
        "Two apps, two sidecars, ready after {:.2} s. App A calls app B by its name:\n\n",
        began.elapsed().as_secs_f64()
    ));
    scene.show_call(&told, tell.clone())?;
    if !arguments.once {
        out(&scene.suggestions());
        // An error means that no signal can come any more, which ends the demonstration too.
        let _ = asked_to_end.recv();
        out("\nEnding both sidecars.\n");
    }
    end(&mut a, &mut b, &ground)
}

/// How the sidecars will find each other.
fn names(arguments: &DemoArgs) -> Names {
    match arguments.mdns {
        Switch::On if multicast::works() => Names::Mdns,
        Switch::On => {
            out(
                "Multicast does not work on this host's loopback interface: names are found through a directory.\n",
            );
            Names::Registry
        }
        Switch::Off => Names::Registry,
    }
}

/// What app B saw is step 5.
fn forward(seen: Receiver<Seen>, tell: Sender<Told>) -> Result<(), String> {
    let thread = thread::Builder::new().name("app B told".into()).spawn(move || {
        for Seen { at_us, request, caller } in seen {
            let detail = format!("{request}, called by {caller}");
            let _ = tell.send(Told { number: 5, at_us, detail });
        }
    });
    thread.map(drop).map_err(|e| e.to_string())
}

/// What is known once both sidecars are ready.
struct Scene {
    /// Sidecar A's HTTP port.
    port: u16,
    /// Sidecar A's metrics port.
    metrics: u16,
    /// Sidecar A's runtime directory.
    runtime: PathBuf,
    /// App B's name.
    callee: String,
    paint: Paint,
}

impl Scene {
    fn path(&self) -> String {
        format!("/v1.0/invoke/{}/method/hello", self.callee)
    }

    /// Which way the name was found is what sidecar A's status says of it.
    fn found(&self, step: Told) -> Told {
        let status = status::ask(&self.runtime).unwrap_or_default();
        let route = status.routes.into_iter().find(|route| route.app == self.callee);
        let ends = route.map_or_else(Vec::new, |route| route.endpoints);
        let ways: Vec<String> = ends.iter().map(|end| format!("{} by {}", end.address, end.way)).collect();
        Told { detail: format!("{} is at {}", self.callee, ways.join(", ")), ..step }
    }

    /// Makes the call and shows its steps as they become known.
    fn show_call(&self, told: &Receiver<Told>, tell: Sender<Told>) -> Result<(), String> {
        let mut board = Board::new(self.paint, now_us());
        let (port, path) = (self.port, self.path());
        let app_a = thread::Builder::new().name("app A".into()).spawn(move || {
            let answer = apps::call(port, &path, "from app A");
            let detail = match &answer {
                Ok((status, body)) => format!("{status} {body}"),
                Err(error) => error.to_string(),
            };
            let _ = tell.send(Told { number: 7, at_us: now_us(), detail });
            answer
        });
        let app_a = app_a.map_err(|e| e.to_string())?;
        while !board.is_complete() {
            match told.recv_timeout(PATIENCE) {
                Ok(step) => {
                    let step = if step.number == 2 { self.found(step) } else { step };
                    out(&board.take(step).concat());
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            }
        }
        let answer = app_a.join().map_err(|_| "app A ended in a panic".to_owned())?;
        match answer {
            Ok((200, _)) if board.is_complete() => Ok(()),
            Ok((200, _)) => Err(format!("the call succeeded, but nobody told step {}", board.missing())),
            Ok((status, body)) => Err(format!("app A was answered {status}: {body}")),
            Err(error) => Err(format!("app A got no answer: {error}")),
        }
    }

    fn suggestions(&self) -> String {
        let executable = std::env::args().next().unwrap_or_else(|| "outrigger".into());
        let (port, metrics, path, paint) = (self.port, self.metrics, self.path(), self.paint);
        format!(
            "\nThe sidecars stay up. Try, in another terminal:\n\n  {}\n  {}\n  {}\n\nCtrl-C ends everything.\n",
            paint.bold(&format!("curl -d world http://127.0.0.1:{port}{path}")),
            paint.bold(&format!("{executable} status --runtime {}", self.runtime.display())),
            paint.bold(&format!("curl -s http://127.0.0.1:{metrics}/metrics | grep dapr_")),
        )
    }
}

/// Both at once: neither needs the other any more.
fn end(a: &mut Sidecar, b: &mut Sidecar, ground: &Ground) -> Result<(), String> {
    a.terminate();
    b.terminate();
    if a.ended() && b.ended() {
        return Ok(());
    }
    Err(format!("a sidecar did not end in order; {} is removed all the same", ground.folder().display()))
}

/// One message for the first TERM or INT.
fn signals() -> Result<Receiver<()>, String> {
    use tokio::signal::unix::{SignalKind, signal};
    let (tell, asked) = channel();
    let (tell_ready, ready) = channel();
    let thread = thread::Builder::new().name("signals".into()).spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let Ok(runtime) = runtime else { return };
        runtime.block_on(async {
            let both =
                signal(SignalKind::terminate()).and_then(|t| Ok((t, signal(SignalKind::interrupt())?)));
            let Ok((mut terminate, mut interrupt)) = both else { return };
            let _ = tell_ready.send(());
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            let _ = tell.send(());
        });
    });
    thread.map_err(|e| e.to_string())?;
    ready.recv().map_err(|_| "signals cannot be listened for".to_owned())?;
    Ok(asked)
}
