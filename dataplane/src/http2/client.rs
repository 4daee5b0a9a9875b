//! Connections to an app that speaks HTTP/2 without TLS: many requests on one, another one when all are full.

use super::LinkLimits;
use super::drive::drive;
use super::link::{Blocks, Link, clock};
use super::stream::{self, Receiver, Sender};
use crate::metrics::Held;
use crate::rt::{self, Address, Tick};
use proto::http2::{Connection, Event, Limits};
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

/// Most connections to the app; each takes as many requests as the app allows.
const MOST: usize = 64;

/// Most streams at once on one connection, whatever the app allows.
const STREAMS: usize = 1000;

/// How long the app may take from the connection to its SETTINGS.
const SETTINGS_TIME: Duration = Duration::from_secs(10);

/// How often who waits for room looks by itself.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Largest head of an answer that is taken at all. `--read-buffer-size` is looked at later, as for every app.
const MOST_HEAD: u32 = 1 << 20;

/// An app is not pinged, as at daprd: one that is stopped for a while loses nothing.
fn limits() -> Limits {
    Limits {
        header_list: MOST_HEAD,
        header_fields: 2048,
        header_block: MOST_HEAD as usize,
        continuations: 64,
        keepalive: Duration::from_secs(24 * 60 * 60),
        idle: Duration::from_secs(90),
        grpc: false,
        features: 0,
        ..Limits::default()
    }
}

/// The connections to one app.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pool(Rc<State>);

#[derive(Debug, Default)]
struct State {
    links: RefCell<Vec<Rc<Link>>>,
    /// Somebody is connecting; the others wait.
    dialing: Cell<bool>,
    /// A connection came, failed, ended or has room again.
    waiting: RefCell<Vec<Waker>>,
}

impl State {
    fn notify(&self) {
        let waiting = self.waiting.take();
        waiting.into_iter().for_each(Waker::wake);
    }

    fn remove(&self, link: &Rc<Link>) {
        self.links.borrow_mut().retain(|known| !Rc::ptr_eq(known, link));
        self.notify();
    }

    /// The first connection with room, so that others become idle.
    fn at_hand(&self) -> Option<Rc<Link>> {
        self.links.borrow().iter().find(|link| link.room() > 0).cloned()
    }
}

/// One connects for all: its place is free again however that ends.
struct Dialing(Rc<State>);

impl Drop for Dialing {
    fn drop(&mut self) {
        self.0.dialing.set(false);
        self.0.notify();
    }
}

impl Pool {
    /// A stream to be started, and whether its connection was there before. `held` counts connections.
    ///
    /// # Errors
    /// What connecting said, or that `by` came.
    pub(crate) async fn stream(
        &self,
        to: &Address,
        by: Tick,
        held: impl Fn() -> Held,
    ) -> io::Result<((Receiver, Sender), bool)> {
        loop {
            if let Some(link) = self.0.at_hand() {
                return Ok((stream::promised(&link), true));
            }
            if !self.0.dialing.get() && self.0.links.borrow().len() < MOST {
                self.0.dialing.set(true);
                let _dialing = Dialing(Rc::clone(&self.0));
                let link = dial(&self.0, to, by, held()).await?;
                return Ok((stream::promised(&link), false));
            }
            if by <= rt::now() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            // a place that was promised and not used is told to nobody: look again
            rt::within(by.min(rt::now() + LOOK_AGAIN), self.changed()).await;
        }
    }

    async fn changed(&self) {
        let mut told = false;
        poll_fn(|cx| {
            if std::mem::replace(&mut told, true) {
                return Poll::Ready(());
            }
            self.0.waiting.borrow_mut().push(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

/// A new connection, once the app's SETTINGS are here.
async fn dial(state: &Rc<State>, to: &Address, by: Tick, held: Held) -> io::Result<Rc<Link>> {
    let (reader, writer) = rt::connect(to, by).await?.split();
    let conn = Connection::client(limits(), clock());
    let of_links =
        LinkLimits { streams: STREAMS, close: Duration::from_secs(1), max_message: Cell::new(usize::MAX) };
    let link = Link::new(conn, Blocks::default(), None, writer, Rc::new(of_links));
    link.touch(&mut link.inner());
    let settled: Rc<Settled> = Rc::default();
    let (driven, told, owner) = (Rc::clone(&link), Rc::clone(&settled), Rc::downgrade(state));
    rt::spawn(async move {
        let end = drive(driven, reader, |link, event| match event {
            Event::Ready => told.set(Ok(())),
            Event::Room => owner.upgrade().into_iter().for_each(|state| state.notify()),
            Event::Draining | Event::Over => owner.upgrade().into_iter().for_each(|state| state.remove(link)),
            Event::Opened(_) | Event::Progress(_) | Event::Refused(_) => {}
        })
        .await;
        drop(held);
        told.set(Err(end.to_string()));
    });
    let abandoned = Abandon(Some(Rc::clone(&link)));
    match rt::within(by.min(rt::now() + SETTINGS_TIME), poll_fn(|cx| settled.poll(cx))).await {
        Some(Ok(())) => {}
        Some(Err(end)) => return Err(io::Error::other(format!("no HTTP/2 from the app: {end}"))),
        None => return Err(io::ErrorKind::TimedOut.into()),
    }
    abandoned.keep();
    state.links.borrow_mut().push(Rc::clone(&link));
    Ok(link)
}

/// Ends a connection that nobody will use: who wanted it has given up.
struct Abandon(Option<Rc<Link>>);

impl Abandon {
    fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Abandon {
    fn drop(&mut self) {
        if let Some(link) = self.0.take() {
            link.shutdown();
        }
    }
}

/// Whether a connection is usable, or how it ended before it was.
#[derive(Debug, Default)]
struct Settled {
    result: RefCell<Option<Result<(), String>>>,
    waker: RefCell<Option<Waker>>,
}

impl Settled {
    fn set(&self, result: Result<(), String>) {
        self.result.borrow_mut().get_or_insert(result);
        self.waker.take().into_iter().for_each(Waker::wake);
    }

    fn poll(&self, cx: &std::task::Context<'_>) -> Poll<Result<(), String>> {
        if let Some(result) = self.result.take() {
            return Poll::Ready(result);
        }
        *self.waker.borrow_mut() = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for State {
    fn drop(&mut self) {
        self.links.borrow().iter().for_each(|link| link.shutdown());
    }
}
