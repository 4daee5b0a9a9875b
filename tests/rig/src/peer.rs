//! A scripted gRPC peer without TLS: every call is answered with a bare status (trailers only), on the `h2` crate.

use h2::server;
use http::Response;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Instant;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::sync::oneshot;

/// A gRPC status with its message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// The code.
    pub code: u8,
    /// The message.
    pub message: String,
}

/// A call that reached the peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Called {
    /// `:path`.
    pub path: String,
    /// When its headers came.
    pub at: Instant,
}

#[derive(Default)]
struct State {
    script: Vec<Status>,
    called: Vec<Called>,
}

/// A listening peer with a thread of its own; gone on drop.
pub struct Peer {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Peer {
    /// Starts a peer at this address.
    pub fn start_at(address: SocketAddr) -> Peer {
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        let listener = std::net::TcpListener::bind(address).expect("the peer binds its port");
        listener.set_nonblocking(true).expect("a non-blocking listener");
        let address = listener.local_addr().expect("its address");
        let (stop, stopped) = oneshot::channel();
        let thread = thread::spawn(move || serve(listener, shared, stopped));
        Peer { address, state, stop: Some(stop), thread: Some(thread) }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Scripts the next calls (the last status repeats) and forgets what was seen.
    pub fn script(&self, statuses: Vec<Status>) {
        *self.state.lock().expect("the peer's state") = State { script: statuses, called: Vec::new() };
    }

    /// The calls since the last script.
    pub fn called(&self) -> Vec<Called> {
        self.state.lock().expect("the peer's state").called.clone()
    }
}

impl Drop for Peer {
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
    let Ok(mut connection) = server::handshake(stream).await else { return };
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        let status = next(&state, request.uri().path());
        tokio::spawn(async move {
            let mut body = request.into_body();
            while let Some(Ok(data)) = body.data().await {
                let _ = body.flow_control().release_capacity(data.len());
            }
            let _ = respond.send_response(trailers_only(&status), true);
        });
    }
}

fn next(state: &Mutex<State>, path: &str) -> Status {
    let mut state = state.lock().expect("the peer's state");
    let index = state.called.len();
    state.called.push(Called { path: path.to_owned(), at: Instant::now() });
    state.script.get(index).or(state.script.last()).cloned().unwrap_or_default()
}

fn trailers_only(status: &Status) -> Response<()> {
    let response = Response::builder().status(200).header("content-type", "application/grpc");
    let response = response.header("grpc-status", status.code.to_string());
    response.header("grpc-message", &status.message).body(()).expect("a scripted status is valid")
}
