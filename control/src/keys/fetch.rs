//! One document over HTTP: bounded in time, size and redirects; over TLS always verified.

use proto::http1::framing::{Framing, Incoming};
use proto::http1::head::{Head, Limits, Response, Slots};
use proto::invoke::url::{self, Url};
use proto::policy::redirect::{self, Follow};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// For a document, with all redirects, as in daprd.
const TIME: Duration = Duration::from_secs(30);
/// Largest document, in bytes.
const LARGEST: usize = 1 << 20;
/// Largest head of an answer, in bytes.
const LARGEST_HEAD: usize = 64 << 10;

/// Where a document is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Place {
    url: Url,
    query: String,
}

/// A document.
#[derive(Debug)]
pub(super) struct Document {
    pub(super) body: Vec<u8>,
    /// How long it stays the newest, as its server says.
    pub(super) max_age: Option<Duration>,
}

enum Answer {
    Document(Document),
    Elsewhere(Place),
}

impl Place {
    /// The place that a text names.
    ///
    /// # Errors
    /// What the text is instead.
    pub(crate) fn parse(text: &str) -> Result<Place, String> {
        let text = text.split('#').next().unwrap_or_default();
        let (place, query) = text.split_once('?').unwrap_or((text, ""));
        let url = url::parse(place).map_err(|bad| bad.to_string())?;
        Place { url, query: query.to_owned() }.sendable()
    }

    /// Nothing in it can end the line that it is written into.
    fn sendable(self) -> Result<Place, String> {
        let fits = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        if fits(&self.url.path) && fits(&self.query) {
            return Ok(self);
        }
        Err("a space, a control character or one beyond ASCII, which a URL writes with %".into())
    }

    /// Where a redirect leads. From TLS it leads to TLS.
    fn redirected(&self, to: &[u8]) -> Result<Place, String> {
        let to = String::from_utf8_lossy(to);
        let bad = |why: String| format!("it leads to {to:?}: {why}");
        let (url, query) = self.url.redirected(&self.url.path, &to).map_err(|e| bad(e.to_string()))?;
        if self.url.origin.secure && !url.origin.secure {
            return Err(bad("from https to http".into()));
        }
        let user = self.url.user.clone().filter(|_| url.origin == self.url.origin);
        Place { url: Url { user, ..url }, query }.sendable().map_err(bad)
    }

    fn request(&self) -> String {
        let path = if self.url.path.is_empty() { "/" } else { &self.url.path };
        let query = if self.query.is_empty() { String::new() } else { format!("?{}", self.query) };
        let credentials = self.url.credentials().map(|value| format!("Authorization: {value}\r\n"));
        format!(
            "GET {path}{query} HTTP/1.1\r\nHost: {}\r\nUser-Agent: outrigger/{}\r\nAccept: application/json\r\n{}Connection: close\r\n\r\n",
            self.url.authority,
            env!("CARGO_PKG_VERSION"),
            credentials.unwrap_or_default(),
        )
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.url.text())
    }
}

/// Fetches a document.
///
/// # Errors
/// What kept it away, in words.
pub(super) async fn document(place: &Place) -> Result<Document, String> {
    let followed = tokio::time::timeout(TIME, follow(place)).await;
    followed.unwrap_or_else(|_| Err(format!("no answer within {} seconds", TIME.as_secs())))
}

async fn follow(place: &Place) -> Result<Document, String> {
    let mut here = place.clone();
    for _ in 0..=redirect::MOST {
        match ask(&here).await? {
            Answer::Document(document) => return Ok(document),
            Answer::Elsewhere(next) => here = next,
        }
    }
    Err(format!("stopped after {} redirects", redirect::MOST))
}

async fn ask(place: &Place) -> Result<Answer, String> {
    let origin = &place.url.origin;
    let stream = TcpStream::connect((origin.host.as_str(), origin.port)).await;
    let stream = stream.map_err(|e| format!("cannot connect to {}: {e}", place.url.authority))?;
    if !origin.secure {
        return exchange(stream, place).await;
    }
    let name = ServerName::try_from(origin.host.clone()).map_err(|e| format!("{}: {e}", origin.host))?;
    let config = tokio::task::spawn_blocking(trust).await.map_err(|e| e.to_string())??;
    let sealed = TlsConnector::from(config).connect(name, stream).await;
    exchange(sealed.map_err(|e| format!("TLS with {}: {e}", place.url.authority))?, place).await
}

/// The system's authorities, or where `SSL_CERT_FILE` and `SSL_CERT_DIR` point; read once.
fn trust() -> Result<Arc<ClientConfig>, String> {
    static TRUST: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    if let Some(known) = TRUST.get() {
        return Ok(Arc::clone(known));
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err("this system has no certificate authorities to verify servers with; install ca-certificates, or name them in SSL_CERT_FILE".into());
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = builder.map_err(|e| e.to_string())?.with_root_certificates(roots).with_no_client_auth();
    Ok(Arc::clone(TRUST.get_or_init(|| Arc::new(config))))
}

async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, place: &Place) -> Result<Answer, String> {
    let failed = |e: std::io::Error| format!("{}: {e}", place.url.authority);
    stream.write_all(place.request().as_bytes()).await.map_err(failed)?;
    let mut bytes = Vec::new();
    let told = loop {
        if let Some(told) = head(&mut bytes, place)? {
            break told;
        }
        if stream.read_buf(&mut bytes).await.map_err(failed)? == 0 {
            return Err(format!("{} ended the connection without an answer", place.url.authority));
        }
    };
    match told {
        Told::Elsewhere(place) => Ok(Answer::Elsewhere(place)),
        Told::Body { framing, max_age } => {
            let body = body(&mut stream, bytes, framing).await?;
            Ok(Answer::Document(Document { body, max_age }))
        }
    }
}

/// What a head says.
enum Told {
    Body { framing: Framing, max_age: Option<Duration> },
    Elsewhere(Place),
}

/// Reads the final answer's head off the front of `bytes`, once it is whole.
fn head(bytes: &mut Vec<u8>, place: &Place) -> Result<Option<Told>, String> {
    loop {
        let mut slots = Slots::new();
        let parsed = Response::parse(bytes, &mut slots, &Limits { max_head: LARGEST_HEAD });
        let response = match parsed.map_err(|e| format!("no usable answer: {e}"))? {
            Head::Complete(response) => response,
            Head::Partial => return Ok(None),
        };
        let (len, status) = (response.len, response.status);
        if (100..200).contains(&status) && status != 101 {
            bytes.drain(..len);
            continue;
        }
        let location = response.headers.named("location").next();
        let told = match (status, location) {
            (200, _) => {
                let told = response.headers.named("cache-control").next();
                Told::Body { framing: response.framing(false), max_age: told.and_then(max_age) }
            }
            (_, Some(to)) if matches!(redirect::follow(status, "GET", true), Some(Follow::Same)) => {
                Told::Elsewhere(place.redirected(to)?)
            }
            _ => return Err(format!("the answer is {status}, not 200")),
        };
        bytes.drain(..len);
        return Ok(Some(told));
    }
}

async fn body(
    stream: &mut (impl AsyncRead + Unpin),
    mut bytes: Vec<u8>,
    framing: Framing,
) -> Result<Vec<u8>, String> {
    let (mut incoming, mut body) = (Incoming::new(framing), Vec::new());
    while !incoming.is_done() {
        let compacted = incoming.compact(&mut bytes).map_err(|e| e.to_string())?;
        body.extend_from_slice(bytes.get(..compacted.body).unwrap_or_default());
        bytes.drain(..compacted.used);
        if body.len() > LARGEST {
            return Err(format!("larger than {LARGEST} bytes"));
        }
        if compacted.done {
            break;
        }
        if stream.read_buf(&mut bytes).await.map_err(|e| e.to_string())? == 0 {
            incoming.end_of_stream().map_err(|e| e.to_string())?;
        }
    }
    Ok(body)
}

fn max_age(value: &[u8]) -> Option<Duration> {
    let value = std::str::from_utf8(value).ok()?;
    let named = value.split(',').find_map(|part| part.trim().strip_prefix("max-age="));
    named.and_then(|seconds| seconds.trim_matches('"').parse().ok()).map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str) -> Place {
        Place::parse(text).unwrap()
    }

    #[test]
    fn a_place_is_a_url_with_or_without_a_query() {
        let asked = place("http://u:p@H:81/a/b?x=%20#f").request();
        assert!(asked.starts_with("GET /a/b?x=%20 HTTP/1.1\r\nHost: H:81\r\n"), "{asked}");
        assert!(asked.contains("\r\nAuthorization: Basic dTpw\r\n"), "{asked}");
        assert!(place("https://h").request().starts_with("GET / HTTP/1.1\r\nHost: h\r\n"));
        assert_eq!(place("http://u:p@h/a").to_string(), "http://h/a");
        for text in ["", "h/a", "ftp://h", "http://h/a b", "http://h/?a\r\nX: y", "http://h/\u{e9}"] {
            assert!(Place::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn redirects_stay_under_tls_and_take_no_password_elsewhere() {
        let here = place("https://u:p@h/a/b");
        assert_eq!(here.redirected(b"c?d").unwrap(), place("https://u:p@h/a/c?d"));
        assert_eq!(here.redirected(b"https://i/").unwrap(), place("https://i/"));
        assert!(here.redirected(b"http://h/").unwrap_err().contains("from https to http"));
        assert!(here.redirected(b"/a b").is_err());
    }

    #[test]
    fn what_an_answer_says() {
        let told = |text: &str| {
            let mut bytes = text.as_bytes().to_vec();
            head(&mut bytes, &place("http://h/a")).map(|told| told.map(|told| (told, bytes)))
        };
        let answer = "HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 200 OK\r\nCache-Control: public, max-age=60\r\nContent-Length: 2\r\n\r\n{}";
        let Ok(Some((Told::Body { framing, max_age }, rest))) = told(answer) else { panic!("{answer}") };
        assert_eq!((framing, max_age), (Framing::Length(2), Some(Duration::from_secs(60))));
        assert_eq!(rest, b"{}");
        assert!(matches!(told("HTTP/1.1 200 OK\r\n"), Ok(None)));
        assert!(matches!(told("HTTP/1.1 302 F\r\nLocation: /x\r\n\r\n"), Ok(Some((Told::Elsewhere(_), _)))));
        for text in ["HTTP/1.1 302 F\r\n\r\n", "HTTP/1.1 404 N\r\nLocation: /x\r\n\r\n", "ICY 200 OK\r\n\r\n"]
        {
            assert!(told(text).is_err(), "{text}");
        }
    }
}
