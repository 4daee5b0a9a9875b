//! A scripted HTTP/2 app without TLS (prior knowledge), on the `h2` crate.

use crate::wait;
use bytes::{Bytes, BytesMut};
use h2::RecvStream;
use h2::server::{self, SendResponse};
use http::{HeaderMap, Request, Response};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::sync::oneshot;

/// What the app answers.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// Header fields.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
    /// Whether to reset the stream instead of ending it.
    pub reset: bool,
}

impl Default for Answer {
    fn default() -> Answer {
        let headers = [("content-type", "text/plain"), ("content-length", "5")];
        let headers = headers.map(|(n, v)| (n.to_owned(), v.to_owned())).to_vec();
        Answer { status: 200, headers, body: Bytes::from_static(b"hello"), reset: false }
    }
}

/// A request as it reached the app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saw {
    /// All fields with the pseudo-fields, sorted by name; cookie crumbs joined.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// Behind the body.
    pub trailers: Vec<(String, String)>,
    /// Whether the stream broke inside the body.
    pub cut: bool,
}

#[derive(Default)]
struct State {
    round: u64,
    script: Vec<Answer>,
    served: usize,
    saw: Vec<Option<Saw>>,
    in_work: usize,
}

/// A listening app with a thread of its own; gone on drop.
pub struct H2App {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl H2App {
    /// Starts an app at this address.
    pub fn start_at(address: SocketAddr) -> H2App {
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        let listener = std::net::TcpListener::bind(address).expect("the h2c app binds its port");
        listener.set_nonblocking(true).expect("a non-blocking listener");
        let address = listener.local_addr().expect("its address");
        let (stop, stopped) = oneshot::channel();
        let thread = thread::spawn(move || serve(listener, shared, stopped));
        H2App { address, state, stop: Some(stop), thread: Some(thread) }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Scripts the next requests (the last answer repeats) and forgets what was seen.
    pub fn script(&self, answers: Vec<Answer>) {
        let mut state = self.state.lock().expect("the app's state");
        state.round += 1;
        state.script = answers;
        state.served = 0;
        state.saw.clear();
    }

    /// The requests since the last script, once none is in work or `limit` has passed.
    pub fn saw(&self, limit: Duration) -> Vec<Saw> {
        let idle = || self.state.lock().expect("the app's state").in_work == 0;
        wait::within(limit, || idle().then_some(()));
        self.state.lock().expect("the app's state").saw.iter().flatten().cloned().collect()
    }
}

impl Drop for H2App {
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
    let Ok(mut connection) = server::handshake(stream).await else { return };
    while let Some(Ok((request, respond))) = connection.accept().await {
        tokio::spawn(exchange(request, respond, Arc::clone(&state)));
    }
}

async fn exchange(request: Request<RecvStream>, respond: SendResponse<Bytes>, state: Arc<Mutex<State>>) {
    let (round, index, answer) = {
        let mut state = state.lock().expect("the app's state");
        let index = state.served;
        state.served += 1;
        state.in_work += 1;
        state.saw.push(None);
        (state.round, index, state.script.get(index).or(state.script.last()).cloned().unwrap_or_default())
    };
    let saw = read(request).await;
    let head = saw.headers.iter().any(|(n, v)| n == ":method" && v == "HEAD");
    reply(respond, answer, head);
    let mut state = state.lock().expect("the app's state");
    state.in_work -= 1;
    if state.round == round {
        state.saw[index] = Some(saw);
    }
}

fn reply(mut respond: SendResponse<Bytes>, answer: Answer, head: bool) {
    let mut response = Response::builder().status(answer.status);
    for (name, value) in &answer.headers {
        response = response.header(name, value);
    }
    let response = response.body(()).expect("a scripted head is valid");
    let empty = head || answer.body.is_empty();
    let Ok(mut stream) = respond.send_response(response, empty && !answer.reset) else { return };
    if answer.reset {
        stream.send_reset(h2::Reason::INTERNAL_ERROR);
    } else if !empty {
        let _ = stream.send_data(answer.body, true);
    }
}

async fn read(request: Request<RecvStream>) -> Saw {
    let headers = fields(&request);
    let mut stream = request.into_body();
    let (mut body, mut cut) = (BytesMut::new(), false);
    while let Some(data) = stream.data().await {
        match data {
            Ok(data) => {
                let _ = stream.flow_control().release_capacity(data.len());
                body.extend_from_slice(&data);
            }
            Err(_) => {
                cut = true;
                break;
            }
        }
    }
    let trailers = if cut { None } else { stream.trailers().await.ok().flatten() };
    Saw { headers, body: body.to_vec(), trailers: trailers.map(|t| pairs(&t)).unwrap_or_default(), cut }
}

/// All fields of a request with its pseudo-fields, sorted by name.
pub fn fields<B>(request: &Request<B>) -> Vec<(String, String)> {
    let mut fields = pairs(request.headers());
    let uri = request.uri();
    fields.push((":method".to_owned(), request.method().to_string()));
    fields.push((":path".to_owned(), uri.path_and_query().map(ToString::to_string).unwrap_or_default()));
    fields.extend(uri.scheme_str().map(|s| (":scheme".to_owned(), s.to_owned())));
    fields.extend(uri.authority().map(|a| (":authority".to_owned(), a.to_string())));
    fields.sort_by(|a, b| a.0.cmp(&b.0));
    fields
}

/// Fields sorted by name, values of one name in their order, cookie crumbs joined (RFC 9113 section 8.2.3).
pub fn pairs(map: &HeaderMap) -> Vec<(String, String)> {
    let mut pairs: Vec<(String, String)> = Vec::new();
    for (name, value) in map {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        match pairs.iter_mut().find(|(n, _)| n == "cookie" && name == "cookie") {
            Some((_, crumbs)) => *crumbs = format!("{crumbs}; {value}"),
            None => pairs.push((name.to_string(), value)),
        }
    }
    pairs.sort_by(|a, b| a.0.cmp(&b.0));
    pairs
}
