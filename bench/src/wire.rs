//! One connection of the load generator: HTTP/1 keep-alive or gRPC without TLS, one call in flight.

use crate::load::Plan;
use crate::reply::Reply;
use h2::client::SendRequest;
use std::io;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What a connection speaks.
pub(crate) enum Wire {
    Http1 { stream: TcpStream, reply: Reply, request: Vec<u8> },
    Grpc { send: SendRequest<bytes::Bytes>, uri: String, message: bytes::Bytes },
}

/// What came back: 200 is success for both; a gRPC status becomes 1000 and its code.
pub(crate) type Status = u16;

impl Wire {
    pub(crate) async fn open(plan: &Plan) -> io::Result<Wire> {
        let stream = TcpStream::connect(plan.target).await?;
        stream.set_nodelay(true)?;
        match &plan.grpc {
            Some(message) => grpc(plan, stream, message).await,
            None => Ok(http1(plan, stream)),
        }
    }

    pub(crate) async fn call(&mut self) -> io::Result<Status> {
        match self {
            Wire::Http1 { stream, reply, request } => exchange(stream, request, reply).await,
            Wire::Grpc { send, uri, message } => unary(send, uri, message).await.map_err(io::Error::other),
        }
    }
}

fn http1(plan: &Plan, stream: TcpStream) -> Wire {
    let length = match plan.body {
        0 => String::new(),
        bytes => format!("Content-Length: {bytes}\r\n"),
    };
    let verb = if plan.body == 0 { "GET" } else { "POST" };
    let head = format!(
        "{verb} {} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: bench\r\nAccept: */*\r\n{length}\r\n",
        plan.path
    );
    let mut request = head.into_bytes();
    request.resize(request.len() + plan.body, b'x');
    Wire::Http1 { stream, reply: Reply::default(), request }
}

async fn exchange(stream: &mut TcpStream, request: &[u8], reply: &mut Reply) -> io::Result<Status> {
    stream.write_all(request).await?;
    let mut buffer = [0; 65536];
    loop {
        let n = stream.read(&mut buffer).await?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let status = reply.feed(buffer.get(..n).unwrap_or_default()).map_err(io::Error::other)?;
        if let Some(status) = status {
            return Ok(status);
        }
    }
}

async fn grpc(plan: &Plan, stream: TcpStream, message: &[u8]) -> io::Result<Wire> {
    let (send, connection) = h2::client::handshake(stream).await.map_err(io::Error::other)?;
    // its end shows at the next call
    tokio::task::spawn_local(async move { drop(connection.await) });
    let send = send.ready().await.map_err(io::Error::other)?;
    let length = u32::try_from(message.len()).map_err(io::Error::other)?.to_be_bytes();
    let framed: Vec<u8> = std::iter::once(0).chain(length).chain(message.iter().copied()).collect();
    Ok(Wire::Grpc { send, uri: format!("http://{}{}", plan.target, plan.path), message: framed.into() })
}

async fn unary(
    send: &mut SendRequest<bytes::Bytes>,
    uri: &str,
    message: &bytes::Bytes,
) -> Result<Status, h2::Error> {
    let request =
        http::Request::post(uri).header("content-type", "application/grpc").header("te", "trailers").body(());
    let request = request.map_err(|_| h2::Reason::INTERNAL_ERROR)?;
    let (answer, mut body) = send.send_request(request, false)?;
    body.send_data(message.clone(), true)?;
    let mut answer = answer.await?;
    if let Some(code) = code(answer.headers()) {
        return Ok(code);
    }
    let (http, body) = (answer.status().as_u16(), answer.body_mut());
    while let Some(data) = body.data().await {
        body.flow_control().release_capacity(data?.len())?;
    }
    let trailers = body.trailers().await?.unwrap_or_default();
    Ok(code(&trailers).unwrap_or(if http == 200 { 1002 } else { http }))
}

/// `grpc-status` as a status of ours.
fn code(headers: &http::HeaderMap) -> Option<Status> {
    let code: u16 = headers.get("grpc-status")?.to_str().ok()?.parse().ok()?;
    Some(if code == 0 { 200 } else { 1000 + code })
}

#[cfg(test)]
mod tests {
    use crate::load::{self, Plan};
    use rig::peer::{Peer, Status};
    use std::time::Duration;

    fn drive(status: u8) -> load::Outcome {
        let peer = Peer::start_at(([127, 0, 0, 1], 0).into());
        peer.script(vec![Status { code: status, message: String::new() }]);
        let plan = Plan {
            target: peer.address(),
            path: "/a.B/C".to_owned(),
            body: 0,
            connections: 2,
            rate: Some(200.0),
            length: Duration::from_millis(300),
            grpc: Some(b"hello".to_vec()),
        };
        load::run(&plan).unwrap()
    }

    #[test]
    fn grpc_calls_count_by_their_status() {
        let good = drive(0);
        assert!(good.requests > 0 && good.errors == 0, "{good}");
        let bad = drive(14);
        assert!(bad.requests == 0 && bad.errors > 0, "{bad}");
        assert_eq!(bad.first_error.as_deref(), Some("status 1014"));
    }
}
