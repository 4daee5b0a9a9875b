//! A callee that does what the path says, and a caller.

use dataplane::mesh::{Call, CallError, GrpcEnd, Mesh, MeshLimits, Next, PeerKey, Serving, Start, serve};
use dataplane::rt::{self, Address, Backend, BackendChoice, Listener, Shards, Tick};
use dataplane::tls::Identity;
use proto::grpc::frame;
use std::net::SocketAddr;
use std::sync::{Arc, mpsc};
use std::time::Duration;

/// Runs `test` on one shard of each backend that works here.
pub(crate) fn on_both<F: Future<Output = ()> + 'static>(test: impl Fn() -> F + Clone + Send + 'static) {
    on(BackendChoice::Readiness, test.clone());
    on(BackendChoice::Completion, test);
}

fn on<F: Future<Output = ()> + 'static>(
    choice: BackendChoice,
    test: impl Fn() -> F + Clone + Send + 'static,
) {
    match rt::preflight(choice) {
        Ok(backend) => run(backend, test),
        Err(reason) => eprintln!("SKIPPED on the completion backend: {reason}"),
    }
}

fn run<F: Future<Output = ()> + 'static>(backend: Backend, test: impl Fn() -> F + Clone + Send + 'static) {
    let name = backend.clone();
    let body = move |_| {
        let test = test.clone();
        async move {
            test().await;
            rt::stop();
        }
    };
    let running = rt::start_shards(Shards { backend, ..Shards::default() }, body).unwrap();
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || sender.send(running.join()));
    match receiver.recv_timeout(Duration::from_secs(60)) {
        Ok(result) => result.unwrap_or_else(|error| panic!("{name}: {error}")),
        Err(_) => panic!("{name}: no end within a minute"),
    }
}

pub(crate) fn soon() -> Tick {
    rt::now() + Duration::from_secs(20)
}

pub(crate) fn soon_is(wait: Duration) -> Tick {
    rt::now() + wait
}

/// Waits until `done`, twenty seconds at most.
pub(crate) async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let by = soon();
    while !done() {
        assert!(rt::now() < by, "not within twenty seconds: {what}");
        rt::sleep_until(rt::now() + Duration::from_millis(1)).await;
    }
}

/// A listening callee.
pub(crate) struct Callee {
    pub(crate) address: SocketAddr,
    pub(crate) serving: Serving,
    accepting: rt::Task,
}

impl Callee {
    pub(crate) fn plain(limits: MeshLimits) -> Callee {
        Callee::with(limits, None, |call| {
            rt::spawn(answer(call));
        })
    }

    pub(crate) fn with(
        limits: MeshLimits,
        identity: Option<Arc<Identity>>,
        handler: impl Fn(Call) + Clone + 'static,
    ) -> Callee {
        let listener = Listener::bind(&Address::Tcp(([127, 0, 0, 1], 0).into())).unwrap();
        let Address::Tcp(address) = listener.local().unwrap() else { panic!("no TCP") };
        let serving = Serving::new(limits);
        let mine = serving.clone();
        let accepting = rt::spawn(async move {
            loop {
                let stream = listener.accept().await.unwrap().here().unwrap();
                let (identity, serving, handler) = (identity.clone(), mine.clone(), handler.clone());
                rt::spawn(async move { drop(serve(stream, identity, &serving, handler).await) });
            }
        });
        Callee { address, serving, accepting }
    }

    pub(crate) fn key(&self) -> PeerKey {
        PeerKey { address: self.address, expected: None }
    }

    pub(crate) fn stop_listening(self) {
        self.accepting.cancel();
    }
}

/// Does what the path says.
async fn answer(call: Call) {
    let path = call.path().to_owned();
    let words: Vec<&str> = path[1..].split('/').collect();
    let number = words.get(1).and_then(|w| w.parse().ok()).unwrap_or_default();
    let _ = match words[0] {
        "echo" => echo(call).await,
        "status" => finish(call, number, words.get(2).copied().unwrap_or_default()),
        "big" => big(call, number.into()).await,
        "late-status" => late_status(call, number).await,
        "drop" => Ok(()),
        "silent" => silent(call).await,
        "count" => count(call).await,
        _ => finish(call, 12, "unknown method"),
    };
}

fn finish(call: Call, status: u8, text: &str) -> Result<(), CallError> {
    call.finish(status, text);
    Ok(())
}

async fn echo(mut call: Call) -> Result<(), CallError> {
    while call.next(soon()).await? == Next::Message {
        let message = call.take(<[u8]>::to_vec).unwrap();
        call.writable(soon()).await?;
        call.write(false, |out| put(out, &message))?;
    }
    call.finish(0, "");
    Ok(())
}

/// `n` messages of 16 KiB.
async fn big(mut call: Call, n: u32) -> Result<(), CallError> {
    for i in 0..n {
        call.writable(soon()).await?;
        call.write(false, |out| put(out, &vec![i as u8; 16 << 10]))?;
    }
    call.finish(0, "");
    Ok(())
}

async fn late_status(mut call: Call, status: u8) -> Result<(), CallError> {
    call.write(false, |out| put(out, b"before the error"))?;
    call.finish(status, "tr\u{fc}b \u{2014} 100%");
    Ok(())
}

/// Takes everything and never answers, until the caller resets.
async fn silent(mut call: Call) -> Result<(), CallError> {
    while call.next(Tick::NEVER).await? == Next::Message {
        call.take(|_| ());
    }
    call.writable(soon()).await?;
    rt::sleep_until(soon()).await;
    Ok(())
}

/// Answers how many bytes came, once they came.
async fn count(mut call: Call) -> Result<(), CallError> {
    let mut bytes = 0u64;
    while call.next(soon()).await? == Next::Message {
        bytes += call.take(|m| m.len() as u64).unwrap();
    }
    call.write(false, |out| put(out, bytes.to_string().as_bytes()))?;
    call.finish(0, "");
    Ok(())
}

/// Appends a message with its prefix.
pub(crate) fn put(out: &mut Vec<u8>, message: &[u8]) {
    let at = frame::open(out);
    out.extend_from_slice(message);
    frame::close(out, at);
}

/// A started call.
pub(crate) async fn start(mesh: &Mesh, to: &PeerKey, path: &str) -> Call {
    let checkout = mesh.checkout(to, soon()).await.unwrap();
    checkout.start(Start { path, literals: &[("traceparent", b"00-1-2-01")] })
}

/// Sends messages and half-closes, then reads to the end.
pub(crate) async fn exchange(
    call: &mut Call,
    messages: &[&[u8]],
) -> Result<(Vec<Vec<u8>>, GrpcEnd), CallError> {
    call.write(messages.is_empty(), |_| ())?;
    for (i, message) in messages.iter().enumerate() {
        call.writable(soon()).await?;
        call.write(i + 1 == messages.len(), |out| put(out, message))?;
    }
    read(call).await
}

pub(crate) async fn read(call: &mut Call) -> Result<(Vec<Vec<u8>>, GrpcEnd), CallError> {
    let mut answers = Vec::new();
    loop {
        match call.next(soon()).await? {
            Next::Message => answers.push(call.take(<[u8]>::to_vec).unwrap()),
            Next::End(end) => return Ok((answers, end)),
        }
    }
}

/// One whole call.
pub(crate) async fn ask(mesh: &Mesh, to: &PeerKey, path: &str, message: &[u8]) -> (Vec<Vec<u8>>, GrpcEnd) {
    exchange(&mut start(mesh, to, path).await, &[message]).await.unwrap()
}

/// How many of `count` tasks have called the returned closure's clone.
pub(crate) fn counter() -> (std::rc::Rc<std::cell::Cell<usize>>, impl Fn() + Clone + 'static) {
    let count = std::rc::Rc::new(std::cell::Cell::new(0));
    let mine = count.clone();
    (count, move || mine.set(mine.get() + 1))
}
