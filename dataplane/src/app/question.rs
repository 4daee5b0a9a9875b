//! The sidecar's own questions to its app: health, and `/dapr/config` at the start. They are nobody's call, so they need no
//! permit, and they take no slot from calls.

use super::{App, Forwarding};
use crate::http1::client::{Answer, NoAnswer};
use crate::http1::sink::Sink;
use crate::rt::{self, Tick};
use proto::http1::encode;
use proto::http1::framing::Framing;
use proto::http1::head::{Head, Limits, Response, Slots};
use proto::invoke::failure::Failure;
use std::io;
use std::pin::pin;
use std::rc::Rc;

/// Largest head of an answer, and how much of its body is read so that the connection can be used again.
const MOST_READ: usize = 64 << 10;

/// Asks `GET target` with these header lines; the answer's status.
///
/// # Errors
/// No answer by then, or none that is HTTP.
pub(crate) async fn ask(app: &Rc<App>, target: &str, lines: &[(&str, &[u8])], by: Tick) -> io::Result<u16> {
    let answered = rt::within(by, pin!(exchange(app, target, lines))).await;
    answered.unwrap_or_else(|| Err(io::Error::new(io::ErrorKind::TimedOut, "no answer in time")))
}

/// Once, or twice where the first met a connection that the app had closed meanwhile.
async fn exchange(app: &Rc<App>, target: &str, lines: &[(&str, &[u8])]) -> io::Result<u16> {
    match once(app, target, lines, false).await {
        Err((_, true)) => once(app, target, lines, true).await.map_err(|(error, _)| error),
        told => told.map_err(|(error, _)| error),
    }
}

/// With an error: whether the connection was used before.
async fn once(
    app: &Rc<App>,
    target: &str,
    lines: &[(&str, &[u8])],
    fresh: bool,
) -> Result<u16, (io::Error, bool)> {
    let forwarding = Forwarding { app: app.clone(), _slot: None };
    let mut exchange = forwarding.connect(fresh).await.map_err(|error| (error, false))?;
    let reused = exchange.is_reused();
    let told = match exchange.halves() {
        Some((sink, answer)) => question(app, target, lines, sink, answer).await,
        None => Err(io::ErrorKind::NotConnected.into()),
    };
    let (status, keeps) = told.map_err(|error| (error, reused))?;
    exchange.complete(keeps);
    Ok(status)
}

async fn question(
    app: &App,
    target: &str,
    lines: &[(&str, &[u8])],
    mut sink: Sink<'_>,
    mut answer: Answer<'_>,
) -> io::Result<(u16, bool)> {
    let head = sink.head();
    head.extend_from_slice(format!("GET {target} HTTP/1.1\r\n").as_bytes());
    encode::line(head, b"Host", app.host().as_bytes());
    for (name, value) in lines {
        encode::line(head, name.as_bytes(), value);
    }
    encode::end(head);
    sink.begin(Framing::None);
    sink.finish().map_err(|error| io::Error::other(error.to_string()))?;
    let _ = sink.flush().await; // the answer, or its absence, tells what is wrong
    answer.receive_head(MOST_READ, Tick::NEVER).await.map_err(no_answer)?;
    read(&mut answer).await
}

/// Status, and whether the connection may carry another request.
async fn read(answer: &mut Answer<'_>) -> io::Result<(u16, bool)> {
    let bytes = answer.take_head();
    let mut slots = Slots::new();
    let Ok(Head::Complete(response)) = Response::parse(&bytes, &mut slots, &Limits { max_head: MOST_READ })
    else {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "malformed HTTP response"));
    };
    answer.begin_body(response.framing(false));
    let mut read = 0;
    while read <= MOST_READ {
        match answer.piece(Tick::NEVER).await {
            Ok(Some(piece)) => read += piece.len(),
            Ok(None) | Err(_) => break,
        }
    }
    Ok((response.status, answer.is_done() && response.keeps_alive()))
}

fn no_answer(no: NoAnswer) -> io::Error {
    match no {
        NoAnswer::Io(error) => error,
        NoAnswer::Closed => io::Error::new(io::ErrorKind::UnexpectedEof, "EOF"),
        other => io::Error::other(format!("{other:?}")),
    }
}

impl App {
    /// # Errors
    /// The app fails its health probes: no call may go to it.
    pub(crate) fn takes_calls(&self) -> Result<(), Failure> {
        self.gate.pass()
    }
}
