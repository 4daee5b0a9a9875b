//! Stand-ins for control and the data plane. `FAKE` holds words such as `control-exit=78` or `data-plane-hangs`.

use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
use std::fs::OpenOptions;
use std::io::Write;
use std::net::TcpListener;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::signal::unix::{SignalKind, signal};

fn option(name: &str) -> Option<String> {
    let words = std::env::var("FAKE").unwrap_or_default();
    words.split(' ').find_map(|word| {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        (key == name).then(|| value.to_owned())
    })
}

fn parent() -> Option<u32> {
    let mut words = std::env::args().skip_while(|word| word != "--parent").skip(1);
    words.next().and_then(|id| id.parse().ok())
}

/// Appends a word to the file that the test looks at.
fn note(word: &str) {
    if let Ok(path) = std::env::var("FAKE_NOTES") {
        let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
        writeln!(file, "{word}").unwrap();
    }
}

fn block_on(future: impl Future<Output = i32>) -> i32 {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

pub(crate) fn control() -> i32 {
    control::supervisor::follow("fake-control", parent()).unwrap();
    note("control started");
    if let Some(code) = option("control-exit") {
        return code.parse().unwrap();
    }
    let runtime = std::env::args().skip_while(|word| word != "--runtime").nth(1).unwrap();
    let settings = control::settings::Settings::load(runtime.as_ref()).unwrap();
    let metrics = settings.metrics.as_ref().map(|metrics| metrics.listener().unwrap());
    note(&format!("metrics {}", metrics.map_or(0, |m| m.local_addr().unwrap().port())));
    note(&format!("rate {}", settings.sampling_rate));
    block_on(async {
        signal(SignalKind::terminate()).unwrap().recv().await;
        note("control ended");
        0
    })
}

pub(crate) fn data_plane() -> i32 {
    control::supervisor::follow("fake-data", parent()).unwrap();
    note("data plane started");
    if let Some(code) = option("data-plane-exit") {
        return code.parse().unwrap();
    }
    let listener = http_socket();
    block_on(async {
        let serving = tokio::spawn(serve(listener));
        signal(SignalKind::terminate()).unwrap().recv().await;
        note("draining");
        if option("data-plane-hangs").is_some() {
            tokio::time::sleep(Duration::from_secs(3600)).await;
        }
        serving.abort();
        note("data plane ended");
        0
    })
}

/// The socket of `--listen http=fd:N`.
fn http_socket() -> TcpListener {
    let number = std::env::args().find_map(|word| word.strip_prefix("http=fd:")?.parse().ok()).unwrap();
    let own = pidfd_open(getpid(), PidfdFlags::empty()).unwrap();
    TcpListener::from(pidfd_getfd(&own, number, PidfdGetfdFlags::empty()).unwrap())
}

/// Answers every request 204; `/die` and `/stop` end this process.
async fn serve(listener: TcpListener) {
    listener.set_nonblocking(true).unwrap();
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        tokio::spawn(async move {
            let mut head = vec![0; 1024];
            let length = stream.read(&mut head).await.unwrap_or(0);
            let head = String::from_utf8_lossy(&head[..length]).into_owned();
            if head.starts_with("GET /die ") {
                std::process::exit(3);
            }
            if head.starts_with("GET /stop ") {
                std::process::exit(0);
            }
            let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").await;
        });
    }
}
