//! The two apps: B answers a greeting, A asks for it. Plain HTTP/1.1 on threads; they know nothing of sidecars but a port.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::Sender;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long an app waits for the other end.
const PATIENCE: Duration = Duration::from_secs(10);
/// Largest request body that app B takes.
const LARGEST: u64 = 1 << 20;

/// A request that app B got.
#[derive(Debug)]
pub(super) struct Seen {
    /// When, microseconds since the Unix epoch.
    pub(super) at_us: u64,
    /// Method and path.
    pub(super) request: String,
    /// Who called, as its sidecar says.
    pub(super) caller: String,
}

/// Starts app B on a free port and says which. It lives as long as this process.
pub(super) fn start_b(seen: Sender<Seen>) -> io::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = listener.local_addr()?.port();
    thread::Builder::new().name("app B".into()).spawn(move || {
        for stream in listener.incoming().flatten() {
            let seen = seen.clone();
            // A thread that cannot be started is a connection that is closed; the sidecar tells its client.
            let _ = thread::Builder::new().name("app B".into()).spawn(move || serve(&stream, &seen));
        }
    })?;
    Ok(port)
}

/// Answers the requests of one connection until it ends.
fn serve(stream: &TcpStream, seen: &Sender<Seen>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    while let Some(request) = Request::read(&mut reader)? {
        let caller = request.header("dapr-caller-app-id").unwrap_or("nobody").to_owned();
        let request_line = format!("{} {}", request.method, request.path);
        // Nobody listens any more once the demonstrated call is over.
        let _ = seen.send(Seen { at_us: now_us(), request: request_line.clone(), caller: caller.clone() });
        let name = String::from_utf8_lossy(&request.body).into_owned();
        let reply = serde_json::json!({
            "greeting": format!("Hello {name}"), "from": "app B", "to": caller, "asked": request_line,
        })
        .to_string();
        write!(
            &mut (&*stream),
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{reply}",
            reply.len()
        )?;
    }
    Ok(())
}

struct Request {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    /// The next request of a connection; `None` at its end.
    fn read(reader: &mut impl BufRead) -> io::Result<Option<Request>> {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let mut words = line.split_whitespace();
        let (method, path) = (word(&mut words)?, word(&mut words)?);
        let headers = headers(reader)?;
        let mut request = Request { method, path, headers, body: Vec::new() };
        request.body = request.read_body(reader)?;
        Ok(Some(request))
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    fn read_body(&self, reader: &mut impl BufRead) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        if let Some(length) = self.header("content-length") {
            let length = length.parse::<u64>().map_err(io::Error::other)?.min(LARGEST);
            reader.take(length).read_to_end(&mut body)?;
        } else if self.header("transfer-encoding").is_some() {
            while let Some(size) = chunk_size(reader)? {
                reader.take(size).read_to_end(&mut body)?;
                reader.read_line(&mut String::new())?;
            }
            headers(reader)?;
        }
        Ok(body)
    }
}

fn word<'a>(words: &mut impl Iterator<Item = &'a str>) -> io::Result<String> {
    words.next().map(str::to_owned).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
}

/// Header lines up to the empty one.
fn headers(reader: &mut impl BufRead) -> io::Result<Vec<(String, String)>> {
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        match line.trim_end().split_once(':') {
            Some((name, value)) => headers.push((name.to_owned(), value.trim().to_owned())),
            None => return Ok(headers),
        }
    }
}

/// The size of the next chunk; `None` for the last one.
fn chunk_size(reader: &mut impl BufRead) -> io::Result<Option<u64>> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let size = u64::from_str_radix(line.trim(), 16).map_err(io::Error::other)?;
    Ok((size > 0).then_some(size.min(LARGEST)))
}

/// App A's call: asks its own sidecar for an app by name. Status and body.
pub(super) fn call(sidecar: u16, path: &str, body: &str) -> io::Result<(u16, String)> {
    let to = SocketAddr::from((Ipv4Addr::LOCALHOST, sidecar));
    let mut stream = TcpStream::connect_timeout(&to, PATIENCE)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {to}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(format!("{head}{body}").as_bytes())?;
    let mut reader = BufReader::new(stream);
    let mut status = String::new();
    reader.read_line(&mut status)?;
    let code = status.split(' ').nth(1).and_then(|code| code.parse().ok());
    let reply =
        Request { method: String::new(), path: String::new(), headers: headers(&mut reader)?, body: vec![] };
    let text = String::from_utf8_lossy(&reply.read_body(&mut reader)?).into_owned();
    Ok((code.ok_or_else(|| io::Error::other(format!("no HTTP answer: {status:?}")))?, text))
}

/// Microseconds since the Unix epoch.
pub(super) fn now_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn app_a_gets_app_bs_greeting_and_app_b_tells_what_it_saw() {
        let (tell, seen) = channel();
        let port = start_b(tell).unwrap();
        let (status, body) = call(port, "/hello", "world").unwrap();
        assert_eq!(status, 200);
        assert!(body.contains("\"greeting\":\"Hello world\""), "{body}");
        let seen = seen.recv_timeout(PATIENCE).unwrap();
        assert_eq!((seen.request.as_str(), seen.caller.as_str()), ("POST /hello", "nobody"));
    }

    #[test]
    fn chunked_bodies_are_put_together() {
        let mut text: &[u8] =
            b"POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
        let request = Request::read(&mut text).unwrap().unwrap();
        assert_eq!(request.body, b"abcde");
        assert!(Request::read(&mut text).unwrap().is_none());
    }
}
