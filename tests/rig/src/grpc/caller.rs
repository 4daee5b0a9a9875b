//! One gRPC call on a connection of its own, without TLS.

use super::{framed, unframed};
use crate::h2app::pairs;
use bytes::Bytes;
use h2::client;
use http::Request;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::time::timeout;

/// A window that no recording fills.
const WINDOW: u32 = 16 << 20;

/// What to call.
#[derive(Clone, Debug)]
pub struct Call {
    /// `:path`.
    pub path: String,
    /// `:method`, usually POST.
    pub method: String,
    /// `content-type`.
    pub content_type: Option<String>,
    /// Further header fields.
    pub metadata: Vec<(String, String)>,
    /// Compressed flags and messages.
    pub messages: Vec<(u8, Vec<u8>)>,
    /// Whether END_STREAM comes behind the messages (on the HEADERS frame where there are none).
    pub half_close: bool,
    /// Reset the stream this long after the messages were sent.
    pub leave_after: Option<Duration>,
    /// How long an answer may take.
    pub patience: Duration,
}

/// What came back.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    /// With `:status`; empty when none came.
    pub headers: Vec<(String, String)>,
    /// Compressed flags and messages.
    pub messages: Vec<(u8, Vec<u8>)>,
    /// Behind the messages.
    pub trailers: Vec<(String, String)>,
    /// The name of the error code with which the peer reset the stream.
    pub reset: Option<String>,
    /// Whether the stream was still open when the patience ended.
    pub open: bool,
}

impl Reply {
    /// A field of the trailers, or of the headers where they are all there is.
    pub fn last(&self, name: &str) -> Option<&str> {
        let value = |fields: &'_ [(String, String)]| fields.iter().position(|(n, _)| n == name);
        let found = value(&self.trailers).map(|at| &self.trailers[at]);
        found.or_else(|| value(&self.headers).map(|at| &self.headers[at])).map(|(_, v)| v.as_str())
    }
}

impl Call {
    /// Makes the call.
    pub fn run(&self, to: SocketAddr) -> Reply {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let mut reply = Reply::default();
        runtime.block_on(async {
            if timeout(self.patience, self.exchange(to, &mut reply)).await.is_err() {
                reply.open = true;
            }
        });
        reply
    }

    async fn exchange(&self, to: SocketAddr, reply: &mut Reply) {
        let stream = TcpStream::connect(to).await.expect("the mesh port accepts");
        let mut builder = client::Builder::new();
        builder.initial_window_size(WINDOW).initial_connection_window_size(WINDOW);
        let (send, connection) = builder.handshake::<_, Bytes>(stream).await.expect("an HTTP/2 connection");
        tokio::spawn(connection);
        let mut send = send.ready().await.expect("a stream may be opened");
        let alone = self.messages.is_empty() && self.half_close;
        let (response, mut body) = send.send_request(self.head(to), alone).expect("a valid request");
        for (compressed, message) in &self.messages {
            // A refused write shows in what is read.
            let _ = body.send_data(framed(*compressed, message).into(), false);
        }
        if self.half_close && !alone {
            let _ = body.send_data(Bytes::new(), true);
        }
        match self.leave_after {
            None => read(response, reply).await,
            Some(time) => {
                let _ = timeout(time, read(response, reply)).await;
                body.send_reset(h2::Reason::CANCEL);
                // The reset leaves with the connection's next turn; its effect is looked for at the app.
                tokio::time::sleep(time).await;
            }
        }
    }

    fn head(&self, to: SocketAddr) -> Request<()> {
        let uri = format!("http://{to}{}", self.path);
        let mut request = Request::builder().method(self.method.as_str()).uri(uri).header("te", "trailers");
        for (name, value) in &self.metadata {
            request = request.header(name, value);
        }
        if let Some(value) = &self.content_type {
            request = request.header("content-type", value);
        }
        request.body(()).expect("a valid head")
    }
}

async fn read(response: client::ResponseFuture, reply: &mut Reply) {
    let response = match response.await {
        Ok(response) => response,
        Err(error) => return reply.reset = Some(reason(&error)),
    };
    reply.headers = pairs(response.headers());
    reply.headers.insert(0, (":status".to_owned(), response.status().as_str().to_owned()));
    let (mut body, mut bytes) = (response.into_body(), Vec::new());
    while let Some(data) = body.data().await {
        match data {
            Ok(data) => {
                let _ = body.flow_control().release_capacity(data.len());
                bytes.extend_from_slice(&data);
                reply.messages = unframed(&bytes);
            }
            Err(error) => return reply.reset = Some(reason(&error)),
        }
    }
    match body.trailers().await {
        Ok(trailers) => reply.trailers = trailers.map(|t| pairs(&t)).unwrap_or_default(),
        Err(error) => reply.reset = Some(reason(&error)),
    }
}

/// The registered name of the error code.
pub(super) fn reason(error: &h2::Error) -> String {
    error.reason().map_or_else(|| format!("connection: {error}"), |reason| format!("{reason:?}"))
}
