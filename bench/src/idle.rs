//! What idle client connections cost a sidecar.

use crate::compare;
use crate::host;
use crate::peers::{self, App, Pair};
use std::io::{Read, Write};
use std::net::TcpStream;

/// Opens that many connections to an Outrigger pair, one call on each, and prints what they cost the first sidecar.
pub(crate) fn run(connections: usize) -> Result<(), String> {
    let app = App::start()?;
    let pair = peers::outrigger(&app)?;
    compare::await_call(&pair)?;
    let before = host::memory(&pair.caller.all()).pss_kib;
    let open = open(&pair, connections)?;
    let grown = host::memory(&pair.caller.all()).pss_kib.saturating_sub(before);
    let each = (grown * 1024) as f64 / open.len().max(1) as f64;
    let (before, grown, count) = (before as f64 / 1024.0, grown as f64 / 1024.0, open.len());
    println!("PSS {before:.1} MB; {count} idle client connections {grown:.1} MB more, {each:.0} bytes each");
    Ok(())
}

fn open(pair: &Pair, connections: usize) -> Result<Vec<TcpStream>, String> {
    let why = |error: std::io::Error| format!("{}: {error} (is `ulimit -n` large enough?)", pair.name);
    (0..connections).map(|_| used(pair).map_err(why)).collect()
}

/// A connection that has carried a call.
fn used(pair: &Pair) -> std::io::Result<TcpStream> {
    let mut stream = TcpStream::connect(pair.front)?;
    write!(stream, "GET {}/12 HTTP/1.1\r\nHost: localhost\r\n\r\n", pair.prefix)?;
    let (mut came, mut buffer) = (Vec::new(), [0; 4096]);
    while !came.ends_with(b"hello world\n") {
        let n = stream.read(&mut buffer)?;
        if n == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        came.extend_from_slice(buffer.get(..n).unwrap_or_default());
        if came.ends_with(b"0\r\n\r\n") {
            break;
        }
    }
    Ok(stream)
}
