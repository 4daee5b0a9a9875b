//! The app behind every pair: nginx, one worker, three answers.

use super::{accepts, await_ready, local};
use crate::host::Guard;
use rig::scratch::Scratch;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Instant;

/// nginx with `/12` (12 bytes), `/16k`, `/64k` and `/1m`, under any leading path; `/sink` reads a
/// body to its end before it answers 12 bytes.
pub(crate) struct App {
    pub(crate) address: SocketAddr,
    _process: Guard,
    folder: Scratch,
}

impl App {
    pub(crate) fn start() -> Result<App, String> {
        let folder = Scratch::new();
        let port = rig::port::one();
        folder.file("16k", vec![b'x'; 16 << 10]);
        folder.file("64k", vec![b'x'; 64 << 10]);
        folder.file("1m", vec![b'x'; 1_000_000]);
        let config = folder.file("nginx.conf", configuration(port, &folder));
        let mut command = Command::new("nginx");
        command
            .arg("-p")
            .arg(folder.path())
            .arg("-c")
            .arg(config)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut process = Guard::start(&mut command)?;
        await_ready(Instant::now(), "nginx", &mut process, || accepts(port))?;
        Ok(App { address: local(port), _process: process, folder })
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// The Unix socket on which it listens too.
    pub(crate) fn socket(&self) -> std::path::PathBuf {
        self.folder.path().join("app.sock")
    }
}

fn configuration(port: u16, folder: &Scratch) -> String {
    let at = folder.path().display();
    format!(
        "daemon off; master_process off; worker_processes 1; pid {at}/nginx.pid; error_log {at}/error.log crit;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 1000000000; keepalive_timeout 600s; tcp_nodelay on; sendfile on; open_file_cache max=16;
  client_body_temp_path {at}/body; proxy_temp_path {at}/proxy; fastcgi_temp_path {at}/fastcgi;
  uwsgi_temp_path {at}/uwsgi; scgi_temp_path {at}/scgi;
  default_type text/plain;
  server {{
    listen 127.0.0.1:{port}; listen unix:{at}/app.sock; root {at};
    add_header X-App-Version 1;
    location ~ /16k$ {{ try_files /16k =404; }}
    location ~ /sink$ {{
      client_body_buffer_size 1m; rewrite ^ /12 break; proxy_pass http://127.0.0.1:{port}; proxy_pass_request_body off; proxy_set_header Content-Length \"\";
    }}
    location ~ /64k$ {{ try_files /64k =404; }}
    location ~ /1m$ {{ try_files /1m =404; }}
    location / {{ return 200 \"hello world\\n\"; }}
  }}
}}
"
    )
}
