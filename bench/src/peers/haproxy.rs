//! Two HAProxy in a row: HTTP/1 in front, HTTP/2 with mutual TLS between, HTTP/1 to the app; no policy at all.

use super::{App, Pair, accepts, await_ready, local, ports};
use crate::host::Guard;
use rig::ca::Authority;
use rig::scratch::Scratch;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

const HEAD: &str = "global
  nbthread 1
  tune.h2.max-concurrent-streams 1000
defaults
  mode http
  timeout connect 5s
  timeout client 30s
  timeout server 30s
  http-reuse always
";

pub(super) fn start(app: &App) -> Result<Pair, String> {
    let folder = Scratch::new();
    let ca = Authority::new("bench");
    let root = folder.file("ca.pem", ca.pem());
    let both = folder.file("both.pem", ca.host(&["localhost"]).both_pem());
    let (root, both) = (root.display(), both.display());
    let [front, middle] = ports();
    let caller = format!(
        "{HEAD}frontend f\n  bind 127.0.0.1:{front}\n  default_backend b\nbackend b\n  server s 127.0.0.1:{middle} ssl verify required ca-file {root} crt {both} alpn h2 sni str(localhost) verifyhost localhost\n"
    );
    let callee = format!(
        "{HEAD}frontend f\n  bind 127.0.0.1:{middle} ssl crt {both} ca-file {root} verify required alpn h2\n  default_backend b\nbackend b\n  server s {}\n",
        app.address
    );
    let begin = Instant::now();
    let mut callee = proxy(&folder.file("callee.cfg", callee))?;
    let mut caller = proxy(&folder.file("caller.cfg", caller))?;
    await_ready(begin, "HAProxy (callee)", &mut callee, || accepts(middle))?;
    let ready = await_ready(begin, "HAProxy (caller)", &mut caller, || accepts(front))?;
    Ok(Pair {
        name: "haproxy",
        front: local(front),
        prefix: "",
        caller,
        callee,
        ready,
        _others: Vec::new(),
        _folder: folder,
    })
}

fn proxy(config: &Path) -> Result<Guard, String> {
    Guard::start(
        Command::new("haproxy").arg("-db").arg("-f").arg(config).stdout(Stdio::null()).stderr(Stdio::null()),
    )
}
