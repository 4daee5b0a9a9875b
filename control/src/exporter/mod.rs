//! The metrics port: every path answers with Prometheus text (spec/resolution 5.1). A scrape asks the data plane for its
//! numbers; while it is away, the last ones have to do.

mod own;
mod text;

pub use text::{CONTENT_TYPE, render};

use crate::process::House;
use crate::settings::Metrics;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// Most scrapers at a time; a further connection is closed at once.
pub const MAX_SCRAPERS: usize = 32;
/// Largest request head in bytes; the next one ends the connection.
pub const MAX_HEAD: usize = 8 << 10;
/// How long a request may take to come, and an answer to be read.
pub const REQUEST_WITHIN: Duration = Duration::from_secs(10);

/// The listening socket, ready for tokio; `None` where metrics are switched off.
///
/// # Errors
/// What was inherited is no socket, or the port cannot be opened.
pub fn listener(metrics: Option<&Metrics>) -> io::Result<Option<TcpListener>> {
    let Some(metrics) = metrics else { return Ok(None) };
    let listener = metrics.listener()?;
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener).map(Some)
}

/// Answers scrapers; never ends.
pub async fn serve(listener: TcpListener, house: Arc<House>) {
    let scrapers = Arc::new(Semaphore::new(MAX_SCRAPERS));
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // out of descriptors, most likely: the listener stays readable, so this must not spin
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let (Ok(place), house) = (Arc::clone(&scrapers).try_acquire_owned(), Arc::clone(&house)) else {
            continue;
        };
        tokio::spawn(async move {
            // a scraper that breaks off has said enough
            let _ = talk(stream, &house).await;
            drop(place);
        });
    }
}

async fn talk(mut stream: TcpStream, house: &House) -> io::Result<()> {
    let mut received = Vec::new();
    loop {
        let head = timeout(REQUEST_WITHIN, request(&mut stream, &mut received)).await??;
        let Some(head) = head else { return Ok(()) };
        let body = if head.wants_body { document(house).await } else { String::new() };
        let answer = head.answer(&body);
        timeout(REQUEST_WITHIN, stream.write_all(answer.as_bytes())).await??;
        if head.last {
            return stream.shutdown().await;
        }
    }
}

/// The numbers of the data plane and of this process.
async fn document(house: &House) -> String {
    let fresh = house.planes.collect().await;
    let report = fresh.clone().or_else(|| house.planes.last_report());
    let mut families = report.map(|report| report.families.clone()).unwrap_or_default();
    families.extend(own::families(house, fresh.is_some()));
    render(&families)
}

/// What matters of a request.
#[derive(Debug, PartialEq, Eq)]
struct Head {
    good: bool,
    wants_body: bool,
    last: bool,
}

/// Reads one head; `None` at the end of the connection.
async fn request(stream: &mut TcpStream, received: &mut Vec<u8>) -> io::Result<Option<Head>> {
    loop {
        if let Some(end) = received.windows(4).position(|four| four == b"\r\n\r\n") {
            let rest = received.split_off(end + 4);
            let head = std::mem::replace(received, rest);
            return Ok(Some(Head::parse(&head)));
        }
        if received.len() > MAX_HEAD {
            return Ok(Some(Head { good: false, wants_body: false, last: true }));
        }
        if stream.read_buf(received).await? == 0 {
            return Ok(None);
        }
    }
}

impl Head {
    /// A scraper's request has no body; one that has is answered, and the connection closed instead of reading it.
    fn parse(head: &[u8]) -> Head {
        let text = String::from_utf8_lossy(head).to_ascii_lowercase();
        let mut lines = text.split("\r\n");
        let mut words = lines.next().unwrap_or_default().split(' ');
        let (method, version) = (words.next().unwrap_or_default(), words.nth(1).unwrap_or_default());
        let good = version.starts_with("http/1.") && !method.is_empty();
        let field = |line: &str| line.split_once(':').map(|(n, v)| (n.to_owned(), v.trim().to_owned()));
        let fields: Vec<_> = lines.filter_map(field).collect();
        let says = |name: &str, value: &str| fields.iter().any(|(n, v)| n == name && v.contains(value));
        let has_body =
            fields.iter().any(|(n, v)| n == "transfer-encoding" || (n == "content-length" && v != "0"));
        let last = !good || has_body || version == "http/1.0" || says("connection", "close");
        Head { good, wants_body: good && method != "head", last }
    }

    fn answer(&self, body: &str) -> String {
        let status = if self.good { "200 OK" } else { "400 Bad Request" };
        let close = if self.last { "Connection: close\r\n" } else { "" };
        let length = body.len();
        format!(
            "HTTP/1.1 {status}\r\nContent-Type: {CONTENT_TYPE}\r\nContent-Length: {length}\r\n{close}\r\n{body}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel;
    use crate::process::testing::{DataPlane, Ground};
    use proto::control::{Family, Kind, Report, Series};

    async fn ask(address: std::net::SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn every_path_answers_with_the_numbers_of_the_data_plane_and_with_the_last_ones_when_it_is_away() {
        let ground = Ground::new("");
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let socket = channel::listen(&ground.socket()).unwrap();
        tokio::spawn(channel::serve(socket, Arc::clone(&ground.house)));
        tokio::spawn(serve(listener, Arc::clone(&ground.house)));
        let request = "GET /any/path HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        assert!(ask(address, request).await.contains("\noutrigger_up{app_id=\"orders\"} 0\n"));
        let mut plane = DataPlane::connect(&ground).await;
        plane.settle().await;
        let series = Series { labels: vec!["orders".into()], value: 7.0, buckets: Vec::new() };
        let family = Family {
            name: "dapr_x_total".into(),
            help: "X.".into(),
            kind: Kind::Counter.into(),
            labels: vec!["app_id".into()],
            series: vec![series],
            ..Family::default()
        };
        let report = Report { families: vec![family], ..Report::default() };
        let serving = tokio::spawn(async move {
            plane.report(report).await;
            plane
        });
        let answer = ask(address, request).await;
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8; escaping=underscores\r\n";
        assert!(answer.starts_with(head), "{answer}");
        assert!(
            answer.contains("# TYPE dapr_x_total counter\ndapr_x_total{app_id=\"orders\"} 7\n"),
            "{answer}"
        );
        assert!(answer.contains("\noutrigger_up{app_id=\"orders\"} 1\n"));
        drop(serving.await.unwrap());
        let gone = || ground.house.planes.newest().is_none();
        crate::process::testing::until(gone).await;
        let answer = ask(address, "GET / HTTP/1.0\r\n\r\n").await;
        assert!(answer.contains("\ndapr_x_total{app_id=\"orders\"} 7\n"), "{answer}");
        assert!(answer.contains("\noutrigger_up{app_id=\"orders\"} 0\n"));
    }

    #[tokio::test]
    async fn a_head_without_end_is_answered_400_and_closed() {
        let ground = Ground::new("");
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve(listener, Arc::clone(&ground.house)));
        let answer = ask(address, &"x".repeat(MAX_HEAD + 1)).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    }

    fn head(text: &str) -> Head {
        Head::parse(text.as_bytes())
    }

    #[test]
    fn a_connection_is_kept_unless_the_request_says_otherwise() {
        let kept = Head { good: true, wants_body: true, last: false };
        let last = Head { good: true, wants_body: true, last: true };
        assert_eq!(head("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"), kept);
        assert_eq!(head("GET / HTTP/1.1\r\nCONNECTION: Close\r\n\r\n"), last);
        assert_eq!(head("GET / HTTP/1.0\r\n\r\n"), last);
        assert_eq!(head("POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\n"), last);
        assert_eq!(head("HEAD / HTTP/1.1\r\n\r\n"), Head { wants_body: false, ..kept });
    }

    #[test]
    fn what_is_no_request_is_answered_400() {
        assert!(head("\u{16}\u{3}\u{1}").answer("").starts_with("HTTP/1.1 400 "));
        assert!(!head("GET / HTTP/2\r\n\r\n").good);
    }
}
