//! The app of the random mix: it reads the call's number from the target and does what the plan says.

use crate::plan::{Plan, Way, bytes};
use rig::echo::{read_body, read_head};
use rig::http1::body::Framing;
use rig::wait;
use std::collections::BTreeMap;
use std::io::{self, BufReader, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// A call as it came to the app.
#[derive(Clone, Debug)]
pub(crate) struct Visit {
    pub(crate) verb: String,
    pub(crate) body: Vec<u8>,
    /// The connection ended before the body did.
    pub(crate) is_cut: bool,
}

#[derive(Default)]
struct State {
    seed: u64,
    visits: BTreeMap<u64, Vec<Visit>>,
    in_work: usize,
    stopped: bool,
    streams: Vec<TcpStream>,
}

pub(crate) struct MixApp {
    port: u16,
    state: Arc<Mutex<State>>,
}

impl MixApp {
    pub(crate) fn start(seed: u64) -> MixApp {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(Mutex::new(State { seed, ..State::default() }));
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let mut state = lock(&shared);
                if state.stopped {
                    return;
                }
                state.streams.extend(stream.try_clone());
                drop(state);
                let shared = Arc::clone(&shared);
                thread::spawn(move || {
                    let _ = serve(&stream, &shared);
                    let _ = stream.shutdown(Shutdown::Both);
                });
            }
        });
        MixApp { port, state }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// What came of these calls, once none is in work; it is forgotten.
    pub(crate) fn visits(&self, calls: Range<u64>) -> BTreeMap<u64, Vec<Visit>> {
        wait::until(Duration::from_secs(20), "the app has nothing in work", || {
            lock(&self.state).in_work == 0
        });
        let mut state = lock(&self.state);
        state.streams.clear();
        let all = std::mem::take(&mut state.visits);
        all.into_iter().filter(|(number, _)| calls.contains(number)).collect()
    }
}

impl Drop for MixApp {
    fn drop(&mut self) {
        let mut state = lock(&self.state);
        state.stopped = true;
        state.streams.iter().for_each(|stream| drop(stream.shutdown(Shutdown::Both)));
        drop(state);
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Counts one as in work while it lives.
struct InWork<'s>(&'s Mutex<State>);

impl Drop for InWork<'_> {
    fn drop(&mut self) {
        lock(self.0).in_work -= 1;
    }
}

fn serve(mut stream: &TcpStream, shared: &Mutex<State>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::with_capacity(64 << 10, stream);
    while let Some(head) = read_head(&mut reader)? {
        lock(shared).in_work += 1;
        let _in_work = InWork(shared);
        let target = String::from_utf8_lossy(head.word(1)).into_owned();
        let framing = Framing::of_request(&head);
        let Ok(number) = target.trim_start_matches('/').parse::<u64>() else {
            read_body(&mut reader, framing, |_| ())?;
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")?;
            continue;
        };
        let plan = Plan::of(lock(shared).seed, number);
        if plan.way == Way::Early {
            answer(stream, &plan, 0)?;
        }
        let mut body = Vec::new();
        let read = read_body(&mut reader, framing, |part| body.extend_from_slice(part));
        let (verb, length) = (String::from_utf8_lossy(head.word(0)).into_owned(), body.len());
        lock(shared).visits.entry(number).or_default().push(Visit { verb, body, is_cut: read.is_err() });
        read?;
        if plan.way != Way::Early {
            answer(stream, &plan, length)?;
        }
        if !matches!(plan.way, Way::Length | Way::Chunked) {
            return Ok(());
        }
    }
    Ok(())
}

fn answer(mut to: &TcpStream, plan: &Plan, saw: usize) -> io::Result<()> {
    let (body, framed) = match plan.way {
        Way::Silence => return Ok(()),
        Way::Garbage => return to.write_all(b"what is this?\r\n\r\n"),
        Way::Length | Way::Early => (bytes(plan.number, plan.body()), false),
        Way::ToEnd => (bytes(plan.number, plan.body()), false),
        Way::Chunked => (bytes(plan.number, plan.body()), true),
        Way::CutLength(at) => (bytes(plan.number, at.min(plan.body())), false),
        Way::CutChunked(at) => (bytes(plan.number, at.min(plan.body())), true),
    };
    let length = format!("Content-Length: {}\r\n", plan.down);
    let framing = match plan.way {
        _ if plan.status == 204 => "",
        Way::ToEnd => "",
        Way::Chunked | Way::CutChunked(_) => "Transfer-Encoding: chunked\r\n",
        _ => &length,
    };
    // where the answer is whole and the connection ends, it is said, so that no other call takes that connection
    let cut = matches!(plan.way, Way::CutLength(_) | Way::CutChunked(_));
    let ends = matches!(plan.way, Way::ToEnd | Way::Early) || (cut && plan.is_bodiless());
    let close = if ends { "Connection: close\r\n" } else { "" };
    let mut answer = format!(
        "HTTP/1.1 {} Fine\r\nNumber: {}\r\nSaw: {saw}\r\n{close}{framing}\r\n",
        plan.status, plan.number
    )
    .into_bytes();
    if framed && plan.body() > 0 {
        for chunk in body.chunks(7_000) {
            answer.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            answer.extend_from_slice(chunk);
            answer.extend_from_slice(b"\r\n");
        }
    } else {
        answer.extend_from_slice(&body);
    }
    if plan.way == Way::Chunked && !plan.is_bodiless() {
        answer.extend_from_slice(b"0\r\n\r\n");
    }
    to.write_all(&answer)
}
