//! The life of the process: waiting for the app at start, leaving in peace at the end. daprd's marker lines are the
//! supervisor's to say, once a sidecar; here they are detail.

use super::questions;
use super::seat::ToShard;
use crate::app::App;
use crate::log::{self, RUNTIME};
use crate::rt::{self, Mailbox, Sender, Tick};
use crate::shard::{Shard, Wish, now};
use proto::drain::Drain;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;
use std::time::{Duration, Instant};

/// Time between two looks for the app's port, and for one look (spec/invocation 4.7).
const LOOK: Duration = Duration::from_millis(100);
const LOOK_TIME: Duration = Duration::from_millis(500);

/// How long after its answer a forced shutdown comes, as in daprd (spec/invocation 5.5).
const LAST_ANSWER: Duration = Duration::from_millis(100);

/// Scope of lines about the API.
const API: &str = "dapr.api";

/// How often the drain looks whether calls are left.
const DRAIN_LOOK: Duration = Duration::from_millis(5);

/// Waits for the first snapshot, then for the app's port; then the sidecar is ready.
pub(super) async fn wait_for_app(shard: Rc<Shard>, began: Instant) {
    while !shard.common.configured.load(Relaxed) {
        shard.changed().await;
    }
    match shard.view().app.clone() {
        None => log::debug(RUNTIME, "App channel is not initialized. Did you configure an app-port?"),
        Some(app) => {
            if let Some(why) = App::unsupported(app.channel().protocol) {
                log::error(RUNTIME, why);
            }
            look_for(&app).await;
            questions::ask_for_config(&shard.view(), &app).await;
        }
    }
    questions::expect_health(&shard);
    rt::spawn(questions::watch_health(shard.clone()));
    shard.common.app_ready.store(true, Relaxed);
    let elapsed = began.elapsed().as_millis();
    log::debug(RUNTIME, format_args!("dapr initialized. Status: Running. Init Elapsed {elapsed}ms"));
}

async fn look_for(app: &App) {
    let (protocol, host) = (app.channel().protocol, app.host());
    let (protocol, port) = (format!("{protocol:?}").to_lowercase(), host.rsplit(':').next().unwrap_or(host));
    log::debug(
        RUNTIME,
        format_args!(
            "application protocol: {protocol}. waiting on port {port}.  This will block until the app is listening on \
             that port."
        ),
    );
    let mut tries = 0u32;
    while app.probe(rt::now() + LOOK_TIME).await.is_err() {
        tries += 1;
        if tries.is_multiple_of(100) {
            log::info(RUNTIME, format_args!("waiting for application to listen on port {port}"));
        }
        rt::sleep_until(rt::now() + LOOK).await;
    }
    log::debug(RUNTIME, format_args!("application discovered on port {port}"));
}

/// Minds the end of the process.
pub(super) struct Life {
    pub(super) shard: Rc<Shard>,
    pub(super) all: Vec<Sender<ToShard>>,
    pub(super) draining: Arc<dyn Fn(Duration) + Send + Sync>,
}

impl Life {
    /// Waits for a signal or the API's wish, then drains and ends all shards.
    pub(super) async fn run(self) {
        let (sender, mut signals) = Mailbox::new();
        if let Err(error) = rt::on_terminate(sender) {
            return log::error(RUNTIME, format_args!("cannot receive signals: {error}"));
        }
        let (sender, mut wishes) = Mailbox::new();
        self.shard.common.ending.tell(sender);
        let why = poll_fn(|cx| match signals.poll_recv(cx) {
            Poll::Ready(signal) => Poll::Ready(Ok(signal)),
            Poll::Pending => wishes.poll_recv(cx).map(Err),
        });
        match why.await {
            Ok(Some(signal)) => {
                log::debug(RUNTIME, format_args!("Received signal '{signal:?}'; beginning shutdown"));
                self.leave().await;
            }
            Err(Some(Wish::Leave)) => {
                log::info(API, "Shutdown requested via API");
                self.leave().await;
            }
            Err(Some(Wish::EndAtOnce)) => {
                log::warn(API, "Force shutdown requested, exiting immediately without graceful shutdown");
                rt::sleep_until(rt::now() + LAST_ANSWER).await;
                self.tell_all(|| ToShard::End);
            }
            Ok(None) | Err(None) => {} // nobody can wish any more
        }
    }

    /// Leaves: names first, then calls, then the process.
    pub(super) async fn leave(self) {
        let grace = self.shard.view().snapshot.limits.grace;
        self.shard.common.leaving.store(true, Relaxed);
        (self.draining)(grace);
        let mut drain = Drain::default();
        drain.terminate(now(), grace);
        let registry = &self.shard.common.registry;
        let mut told = false;
        while let Some(look) = drain.tick(now(), registry.calls(), registry.last_call()) {
            if drain.is_draining() && !told {
                told = true;
                self.tell_all(|| ToShard::Drain);
            }
            let look = Tick::from_micros(look.as_micros()).min(rt::now() + DRAIN_LOOK);
            rt::sleep_until(look).await;
        }
        if let Drain::Done { cut } = drain
            && cut > 0
        {
            log::warn(RUNTIME, format_args!("Graceful shutdown timeout exceeded: {cut} calls are cut off"));
        }
        if !told {
            self.tell_all(|| ToShard::Drain);
            rt::sleep_until(rt::now() + DRAIN_LOOK).await; // the farewells of connections go out
        }
        log::debug(RUNTIME, "Dapr runtime stopped");
        self.tell_all(|| ToShard::End);
    }

    fn tell_all(&self, message: impl Fn() -> ToShard) {
        for shard in &self.all {
            let _ = shard.send(message()); // a shard that has ended is where it should be
        }
    }
}
