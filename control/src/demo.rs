//! Two apps and two sidecars on one machine, and the call between them step by step.
//!
//! Everything shown is told by those it happened to: the sidecars' own step lines, and the two apps.

mod apps;
mod pair;
mod steps;

use crate::cli::paint::Paint;
use crate::cli::{DemoArgs, complain, flags::Switch, out};
use crate::status;
use apps::{Seen, now_us};
use pair::{Ground, Sidecar};
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
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
        Ok(code) => code,
        Err(reason) => complain(&reason),
    }
}

fn demonstrate(arguments: &DemoArgs, began: Instant) -> Result<i32, String> {
    let paint = Paint::for_stdout();
    // Listened for from the beginning, so that Ctrl-C never leaves anything behind.
    let asked_to_end = signals()?;
    let (tell, told) = channel();
    let (tell_seen, seen) = channel();
    let app_b = apps::start_b(tell_seen).map_err(|e| format!("app B cannot listen: {e}"))?;
    forward(seen, tell.clone())?;
    let ground = Ground::new(arguments.mdns == Switch::On).map_err(|e| e.to_string())?;
    let start = |id, port| {
        ground
            .start(id, port, tell.clone())
            .map_err(|e| format!("the sidecar of {id} cannot be started: {e}"))
    };
    let mut b = start(B, Some(app_b))?;
    let mut a = start(A, None)?;
    b.ready("/v1.0/healthz")?;
    let settings = a.ready("/v1.0/healthz")?;
    let port = settings.ports.http.ok_or("sidecar A has no HTTP port")?;
    out(&format!(
        "Two apps, two sidecars, ready after {:.2} s. App A calls app B by its name:\n\n",
        began.elapsed().as_secs_f64()
    ));
    show_call(port, &a.runtime(), &told, &tell, paint)?;
    let code = if arguments.once {
        0
    } else {
        out(&suggestions(port, settings.metrics.as_ref().map_or(0, |m| m.port), &a.runtime(), paint));
        // An error means that no signal can come any more, which ends the demonstration too.
        let _ = asked_to_end.recv();
        out("\nending both sidecars\n");
        0
    };
    end(&mut a, &mut b, &ground).map(|()| code)
}

/// What app B saw is step 5.
fn forward(seen: Receiver<Seen>, tell: std::sync::mpsc::Sender<Told>) -> Result<(), String> {
    let thread = thread::Builder::new().name("app B told".into()).spawn(move || {
        for Seen { at_us, request, caller } in seen {
            let detail = format!("{request}, called by {caller}");
            let _ = tell.send(Told { number: 5, at_us, detail });
        }
    });
    thread.map(drop).map_err(|e| e.to_string())
}

/// Which way the name was found is what sidecar A's status says of it.
fn found(step: Told, runtime: &Path) -> Told {
    let status = status::ask(runtime).unwrap_or_default();
    let route = status.routes.into_iter().find(|route| route.app == B);
    let ends = route.map_or_else(Vec::new, |route| route.endpoints);
    let ways: Vec<String> = ends.iter().map(|end| format!("{} by {}", end.address, end.way)).collect();
    Told { detail: format!("{B} is at {}", ways.join(", ")), ..step }
}

/// Makes the call and shows its steps as they become known.
fn show_call(
    port: u16,
    runtime: &Path,
    told: &Receiver<Told>,
    tell: &std::sync::mpsc::Sender<Told>,
    paint: Paint,
) -> Result<(), String> {
    let mut board = Board::new(paint, now_us());
    let tell = tell.clone();
    let app_a = thread::Builder::new().name("app A".into()).spawn(move || {
        let answer = apps::call(port, &format!("/v1.0/invoke/{B}/method/hello"), "from app A");
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
                let step = if step.number == 2 { found(step, runtime) } else { step };
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

fn suggestions(port: u16, metrics: u16, runtime: &Path, paint: Paint) -> String {
    let executable = std::env::args().next().unwrap_or_else(|| "outrigger".into());
    format!(
        "\nThe sidecars stay up. Try, in another terminal:\n\n  {}\n  {}\n  {}\n\nCtrl-C ends everything.\n",
        paint.bold(&format!("curl -d world http://127.0.0.1:{port}/v1.0/invoke/{B}/method/hello")),
        paint.bold(&format!("{executable} status --runtime {}", runtime.display())),
        paint.bold(&format!("curl -s http://127.0.0.1:{metrics}/metrics | grep dapr_")),
    )
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
