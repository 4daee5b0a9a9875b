//! A scripted gRPC callee without TLS.

use super::caller::reason;
use super::unframed;
use crate::h2app::fields;
use crate::wait;
use bytes::Bytes;
use h2::server::{self, SendResponse};
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::sync::{Notify, oneshot};
use tokio::time::{sleep, timeout};

/// How long a callee that has nothing more to say waits for the caller's reset.
const HOLD: Duration = Duration::from_secs(5);

/// How long the connection's task may take to notice that it is to close.
const CLOSING: Duration = Duration::from_millis(50);

/// One step of an answer.
#[derive(Clone, Debug)]
pub enum Step {
    /// HEADERS with `:status` among its fields; `true` ends the stream.
    Head(Vec<(String, String)>, bool),
    /// DATA; `true` ends the stream.
    Data(Vec<u8>, bool),
    /// Trailers.
    Trailers(Vec<(String, String)>),
    /// Nothing for this long.
    Pause(Duration),
    /// The end of the TCP connection.
    Close,
    /// RST_STREAM with this code.
    Reset(u32),
}

/// The answer to one call; an answer that does not end the stream waits for the caller to do so.
#[derive(Clone, Debug, Default)]
pub struct Script {
    /// What to do.
    pub steps: Vec<Step>,
    /// At once, instead of behind the request's end.
    pub at_head: bool,
}

impl From<Vec<Step>> for Script {
    fn from(steps: Vec<Step>) -> Script {
        Script { steps, at_head: false }
    }
}

/// A call as it reached the callee.
#[derive(Clone, Debug)]
pub struct Saw {
    /// All fields with the pseudo-fields, sorted by name.
    pub headers: Vec<(String, String)>,
    /// Compressed flags and messages.
    pub messages: Vec<(u8, Vec<u8>)>,
    /// Whether the caller ended its direction.
    pub half_closed: bool,
    /// The name of the code with which the caller reset the stream.
    pub reset: Option<String>,
    /// When its headers came.
    pub at: Instant,
}

#[derive(Default)]
struct State {
    round: u64,
    script: Vec<Script>,
    saw: Vec<Saw>,
    in_work: usize,
}

/// A listening callee with a thread of its own; gone on drop.
pub struct Callee {
    state: Arc<Mutex<State>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Callee {
    /// Starts a callee at this address.
    pub fn start_at(address: SocketAddr) -> Callee {
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        let listener = std::net::TcpListener::bind(address).expect("the callee binds its port");
        listener.set_nonblocking(true).expect("a non-blocking listener");
        let (stop, stopped) = oneshot::channel();
        let thread = thread::spawn(move || serve(listener, shared, stopped));
        Callee { state, stop: Some(stop), thread: Some(thread) }
    }

    /// Scripts the next calls (the last answer repeats) and forgets what was seen.
    pub fn script(&self, script: Vec<Script>) {
        let mut state = self.state.lock().expect("the callee's state");
        *state = State { round: state.round + 1, script, ..State::default() };
    }

    /// The calls since the last script, once none is in work or `limit` has passed.
    pub fn saw(&self, limit: Duration) -> Vec<Saw> {
        let idle = || self.state.lock().expect("the callee's state").in_work == 0;
        wait::within(limit, || idle().then_some(()));
        self.state.lock().expect("the callee's state").saw.clone()
    }
}

impl Drop for Callee {
    fn drop(&mut self) {
        drop(self.stop.take());
        let _ = self.thread.take().expect("it is joined once").join();
    }
}

fn serve(listener: std::net::TcpListener, state: Arc<Mutex<State>>, stopped: oneshot::Receiver<()>) {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async move {
        let listener = TcpListener::from_std(listener).expect("the listener joins the runtime");
        let accept = async {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(connection(stream, Arc::clone(&state)));
            }
        };
        tokio::select! { () = accept => (), _ = stopped => () }
    });
}

async fn connection(stream: TcpStream, state: Arc<Mutex<State>>) {
    let _ = stream.set_nodelay(true);
    let close = Arc::new(Notify::new());
    let Ok(mut connection) = server::handshake(stream).await else { return };
    loop {
        let accepted = tokio::select! {
            accepted = connection.accept() => accepted,
            () = close.notified() => return,
        };
        let Some(Ok((request, respond))) = accepted else { return };
        tokio::spawn(exchange(request, respond, Arc::clone(&state), Arc::clone(&close)));
    }
}

/// One call, with its place among those seen since the script.
struct Exchange {
    state: Arc<Mutex<State>>,
    round: u64,
    index: usize,
}

impl Exchange {
    fn note(&self, change: impl FnOnce(&mut Saw)) {
        let mut state = self.state.lock().expect("the callee's state");
        if state.round == self.round {
            change(&mut state.saw[self.index]);
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let mut state = self.state.lock().expect("the callee's state");
        if state.round == self.round {
            state.in_work -= 1;
        }
    }
}

async fn exchange(
    request: Request<RecvStream>,
    respond: SendResponse<Bytes>,
    state: Arc<Mutex<State>>,
    close: Arc<Notify>,
) {
    let (script, exchange) = begin(&request, state);
    let body = request.into_body();
    if script.at_head {
        // The request is read meanwhile, so that its end is seen as well.
        tokio::join!(play(script.steps, respond, &close, &exchange), read(body, &exchange));
    } else if read(body, &exchange).await {
        play(script.steps, respond, &close, &exchange).await;
    }
}

fn begin(request: &Request<RecvStream>, state: Arc<Mutex<State>>) -> (Script, Exchange) {
    let saw = Saw {
        headers: fields(request),
        messages: Vec::new(),
        half_closed: false,
        reset: None,
        at: Instant::now(),
    };
    let mut open = state.lock().expect("the callee's state");
    let index = open.saw.len();
    open.saw.push(saw);
    open.in_work += 1;
    let script = open.script.get(index).or(open.script.last()).cloned().unwrap_or_default();
    let round = open.round;
    drop(open);
    (script, Exchange { state, round, index })
}

/// Reads the request; whether it ended as it should.
async fn read(mut body: RecvStream, exchange: &Exchange) -> bool {
    let mut bytes = Vec::new();
    while let Some(data) = body.data().await {
        match data {
            Ok(data) => {
                let _ = body.flow_control().release_capacity(data.len());
                bytes.extend_from_slice(&data);
                exchange.note(|saw| saw.messages = unframed(&bytes));
            }
            Err(error) => {
                exchange.note(|saw| saw.reset = Some(reason(&error)));
                return false;
            }
        }
    }
    exchange.note(|saw| saw.half_closed = true);
    true
}

async fn play(steps: Vec<Step>, mut respond: SendResponse<Bytes>, close: &Notify, exchange: &Exchange) {
    let mut stream: Option<SendStream<Bytes>> = None;
    for step in steps {
        let sent = match (step, &mut stream) {
            (Step::Head(fields, end), None) => match respond.send_response(head(fields), end) {
                Ok(_) if end => return,
                Ok(open) => {
                    stream = Some(open);
                    Ok(())
                }
                Err(error) => Err(error),
            },
            (Step::Data(bytes, true), Some(open)) => return drop(open.send_data(bytes.into(), true)),
            (Step::Data(bytes, false), Some(open)) => open.send_data(bytes.into(), false),
            (Step::Trailers(trailers), Some(open)) => return drop(open.send_trailers(map(trailers))),
            (Step::Pause(time), _) => {
                sleep(time).await;
                Ok(())
            }
            (Step::Close, _) => {
                close.notify_one();
                // The stream must outlive the connection: dropped before, it would send a reset of its own.
                return sleep(CLOSING).await;
            }
            (Step::Reset(code), _) => return respond.send_reset(Reason::from(code)),
            (step, _) => panic!("a step in the wrong place: {step:?}"),
        };
        if sent.is_err() {
            break;
        }
    }
    let reset = match &mut stream {
        Some(open) => timeout(HOLD, poll_fn(|cx| open.poll_reset(cx))).await,
        None => timeout(HOLD, poll_fn(|cx| respond.poll_reset(cx))).await,
    };
    if let Ok(Ok(reason)) = reset {
        exchange.note(|saw| saw.reset = Some(format!("{reason:?}")));
    }
}

fn head(fields: Vec<(String, String)>) -> Response<()> {
    let status = fields.iter().find(|(n, _)| n == ":status").map_or("200", |(_, v)| v.as_str());
    let mut response = Response::builder().status(status).body(()).expect("a scripted status is valid");
    *response.headers_mut() = map(fields.into_iter().filter(|(n, _)| n != ":status").collect());
    response
}

fn map(fields: Vec<(String, String)>) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in fields {
        let name = HeaderName::from_bytes(name.as_bytes()).expect("a scripted name is valid");
        map.append(name, HeaderValue::from_bytes(value.as_bytes()).expect("a scripted value is valid"));
    }
    map
}
