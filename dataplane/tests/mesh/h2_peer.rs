//! The h2 crate as the other end, in both roles.

use super::common::*;
use bytes::Bytes;
use dataplane::mesh::{GrpcEnd, Mesh, MeshLimits, PeerKey};
use dataplane::rt;
use http::{HeaderMap, Request, Response};
use std::net::SocketAddr;

fn tokio_thread<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> std::thread::JoinHandle<T> {
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(work)
    })
}

fn framed(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put(&mut out, message);
    out
}

/// An h2 server for one connection that answers as `:path` says.
fn h2_server() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    tokio_thread(async move {
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let mut connection = h2::server::handshake(stream).await.unwrap();
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            tokio::spawn(async move {
                let path = request.uri().path().to_owned();
                assert_eq!(request.headers()["te"], "trailers");
                assert_eq!(request.headers()["content-type"], "application/grpc");
                let mut body = request.into_body();
                let mut got = Vec::new();
                while let Some(Ok(part)) = body.data().await {
                    body.flow_control().release_capacity(part.len()).unwrap();
                    got.extend_from_slice(&part);
                }
                answer(&path, got, &mut respond);
            });
        }
    });
    address
}

fn answer(path: &str, got: Vec<u8>, respond: &mut h2::server::SendResponse<Bytes>) {
    let head = |status: u16, kind: &str| {
        Response::builder().status(status).header("content-type", kind).body(()).unwrap()
    };
    let trailers = |fields: &[(&'static str, &str)]| {
        fields.iter().map(|(n, v)| (n.parse().unwrap(), v.parse().unwrap())).collect::<HeaderMap>()
    };
    match path {
        "/echo" => {
            let mut stream = respond.send_response(head(200, "application/grpc+proto"), false).unwrap();
            stream.send_data(got.into(), false).unwrap();
            stream.send_trailers(trailers(&[("grpc-status", "0"), ("grpc-message", "")])).unwrap();
        }
        "/trailers-only" => {
            let mut head = head(200, "application/grpc");
            head.headers_mut().extend(trailers(&[
                ("grpc-status", "5"),
                ("grpc-message", "no%20such%0Athing"),
                ("grpc-status-details-bin", "CAUSAW4"),
            ]));
            respond.send_response(head, true).unwrap();
        }
        "/no-trailers" => {
            let mut stream = respond.send_response(head(200, "application/grpc"), false).unwrap();
            stream.send_data(framed(b"x").into(), true).unwrap();
        }
        "/cut" => {
            let mut stream = respond.send_response(head(200, "application/grpc"), false).unwrap();
            stream.send_data(vec![0, 0, 0, 0, 9, 1].into(), false).unwrap();
            stream.send_trailers(trailers(&[("grpc-status", "0")])).unwrap();
        }
        path => {
            let status = path[1..].parse().unwrap();
            let mut stream = respond.send_response(head(status, "text/html"), false).unwrap();
            stream.send_data("<html>hello</html>".into(), true).unwrap();
        }
    }
}

#[test]
fn answers_of_a_foreign_server_are_understood_as_grpc_does() {
    on_both(|| async {
        let mesh = Mesh::new(MeshLimits::default());
        let to = PeerKey { address: h2_server(), expected: None };
        let mut call = start(&mesh, &to, "/echo").await;
        assert!(!call.features().outrigger);
        let large = vec![7; 300_000];
        let (answers, end) = exchange(&mut call, &[b"one", &large]).await.unwrap();
        assert_eq!((end, answers), (GrpcEnd::default(), vec![b"one".to_vec(), large]));
        drop(call);
        let end = ask(&mesh, &to, "/trailers-only", b"").await.1;
        let details = vec![8, 5, 18, 1, b'n'];
        assert_eq!(end, GrpcEnd { status: 5, message: "no such\nthing".into(), details });
        let ends = [
            ("/no-trailers", 13, "server closed the stream without sending trailers"),
            ("/cut", 13, "unexpected EOF"),
            (
                "/401",
                16,
                "unexpected HTTP status code received from server: 401 (Unauthorized); transport: received unexpected content-type \"text/html\"\ndata: \"<html>hello</html>\"",
            ),
            (
                "/404",
                12,
                "unexpected HTTP status code received from server: 404 (Not Found); transport: received unexpected content-type \"text/html\"\ndata: \"<html>hello</html>\"",
            ),
            (
                "/503",
                14,
                "unexpected HTTP status code received from server: 503 (Service Unavailable); transport: received unexpected content-type \"text/html\"\ndata: \"<html>hello</html>\"",
            ),
            (
                "/200",
                2,
                "unexpected HTTP status code received from server: 200 (OK); transport: received unexpected content-type \"text/html\"\ndata: \"<html>hello</html>\"",
            ),
        ];
        for (path, status, text) in ends {
            let end = ask(&mesh, &to, path, b"").await.1;
            assert_eq!((end.status, end.message.as_str()), (status, text), "{path}");
        }
        mesh.close();
    });
}

/// Status, grpc-status and grpc-message of a request sent by h2; and the body.
type Answer = (u16, String, String, Vec<u8>);

async fn h2_ask(send: &mut h2::client::SendRequest<Bytes>, request: Request<()>, body: Vec<u8>) -> Answer {
    let (response, mut stream) = send.clone().ready().await.unwrap().send_request(request, false).unwrap();
    let _ = stream.send_data(body.into(), true);
    let response = response.await.unwrap();
    let text =
        |map: &HeaderMap, name| map.get(name).map(|v| v.to_str().unwrap().to_owned()).unwrap_or_default();
    let (status, head) = (response.status().as_u16(), response.headers().clone());
    let mut body = response.into_body();
    let mut got = Vec::new();
    while let Some(Ok(part)) = body.data().await {
        body.flow_control().release_capacity(part.len()).unwrap();
        got.extend_from_slice(&part);
    }
    let end = body.trailers().await.unwrap().unwrap_or(head);
    (status, text(&end, "grpc-status"), text(&end, "grpc-message"), got)
}

#[test]
fn requests_of_a_foreign_client_are_served_and_what_is_no_grpc_is_refused_as_daprd_does() {
    on_both(|| async {
        let callee = Callee::plain(MeshLimits::default());
        let url = format!("http://{}", callee.address);
        let address = callee.address;
        let asked = tokio_thread(async move {
            let stream = tokio::net::TcpStream::connect(address).await.unwrap();
            let (mut send, connection) = h2::client::handshake(stream).await.unwrap();
            tokio::spawn(async move { connection.await.unwrap() });
            let request = |method: &str, path: &str, fields: &[(&str, &str)]| {
                let mut builder = Request::builder().method(method).uri(format!("{url}{path}"));
                for (name, value) in fields {
                    builder = builder.header(*name, *value);
                }
                builder.body(()).unwrap()
            };
            let grpc = [("content-type", "application/grpc"), ("te", "trailers")];
            let large = framed(&vec![9; 500_000]);
            let answer = h2_ask(&mut send, request("POST", "/echo", &grpc), large.clone()).await;
            assert_eq!(answer, (200, "0".into(), String::new(), large));
            let refusals: [(Request<()>, u16, &str, &str); 5] = [
                (request("POST", "/echo", &[]), 415, "3", "invalid gRPC request content-type \"\""),
                (
                    request("POST", "/echo", &[("content-type", "application/json")]),
                    415,
                    "3",
                    "invalid gRPC request content-type \"application/json\"",
                ),
                (
                    request("GET", "/echo", &grpc),
                    405,
                    "13",
                    "Received a HEADERS frame with :method \"GET\" which should be POST",
                ),
                (
                    request("POST", "/echo", &[grpc[0], ("grpc-timeout", "x")]),
                    400,
                    "13",
                    "malformed grpc-timeout: \"x\"",
                ),
                (
                    request("POST", "/echo", &[grpc[0], ("grpc-encoding", "snappy")]),
                    200,
                    "12",
                    "grpc: Decompressor is not installed for grpc-encoding \"snappy\"",
                ),
            ];
            for (request, http, status, text) in refusals {
                let answer = h2_ask(&mut send, request, vec![]).await;
                assert_eq!(answer, (http, status.into(), text.into(), vec![]));
            }
            let answer = h2_ask(&mut send, request("POST", "/unknown", &grpc), framed(b"")).await;
            assert_eq!(answer, (200, "12".into(), "unknown method".into(), vec![]));
        });
        rt::blocking(move || asked.join().unwrap()).await;
    });
}
