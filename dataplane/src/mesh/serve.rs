//! The accepting end: every call of a peer goes to a handler.

use super::call::Call;
use super::end::is_grpc_type;
use super::limits::MeshLimits;
use crate::http2::LinkLimits;
use crate::http2::drive::drive;
use crate::http2::link::{Blocks, Link, LinkEnd, clock};
use crate::rt;
use crate::tls::{Identity, Session};
use proto::grpc::{metadata, status::Code};
use proto::http2::{Connection, Event, Fields, Name};
use proto::invoke::quote;
use std::cell::{Cell, OnceCell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

/// What the connections of a shard that peers opened have in common. Clones share it.
#[derive(Clone, Debug)]
pub struct Serving(Rc<Shared>);

#[derive(Debug)]
struct Shared {
    limits: MeshLimits,
    of_links: Rc<LinkLimits>,
    links: RefCell<Vec<Rc<Link>>>,
    draining: Cell<bool>,
    alarm: OnceCell<Alarm>,
}

/// Who is told of limits.
struct Alarm(Box<dyn Fn(&'static str)>);

impl fmt::Debug for Alarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Alarm")
    }
}

impl Shared {
    fn refused(&self, limit: &'static str) {
        if let Some(alarm) = self.alarm.get() {
            (alarm.0)(limit);
        }
    }
}

impl Serving {
    /// No connections yet.
    pub fn new(limits: MeshLimits) -> Serving {
        Serving(Rc::new(Shared {
            of_links: limits.of_links(),
            limits,
            links: RefCell::new(Vec::new()),
            draining: Cell::new(false),
            alarm: OnceCell::new(),
        }))
    }

    /// Asks every peer to go elsewhere (GOAWAY), those that connect later too. Calls in progress go on.
    pub fn drain(&self) {
        self.0.draining.set(true);
        let links = self.0.links.borrow().clone();
        links.iter().for_each(|link| link.shutdown());
    }

    /// Who is told the name of a limit beyond which a peer's call was refused. Only the first one counts.
    pub fn on_limit(&self, alarm: impl Fn(&'static str) + 'static) {
        let _ = self.0.alarm.set(Alarm(Box::new(alarm)));
    }

    /// Largest message that a peer may send from now on, on open connections too.
    pub fn set_max_message(&self, bytes: usize) {
        self.0.of_links.max_message.set(bytes);
    }

    /// Open connections.
    pub fn connections(&self) -> usize {
        self.0.links.borrow().len()
    }

    /// Calls in progress.
    pub fn calls(&self) -> usize {
        self.0.links.borrow().iter().map(|link| link.inner().conn.open_streams()).sum()
    }
}

/// Serves one accepted connection to its end: TLS with `identity`, plaintext with prior knowledge without. `handler` gets
/// every call that is a gRPC request, and starts a task for it.
pub async fn serve(
    stream: rt::Stream,
    identity: Option<Arc<Identity>>,
    serving: &Serving,
    handler: impl Fn(Call) + 'static,
) -> LinkEnd {
    let session = match identity.as_deref().map(Session::server).transpose() {
        Ok(session) => session,
        Err(error) => return LinkEnd::Tls(error),
    };
    let (reader, writer) = stream.split();
    let mut conn = Connection::server(serving.0.limits.http2.clone(), clock());
    let blocks = Blocks {
        head: Some(conn.register(&[(":status", "200"), ("content-type", "application/grpc")])),
        ok: Some(conn.register(&[("grpc-status", "0")])),
        paths: Vec::new(),
    };
    let link = Link::new(conn, blocks, session, writer, Rc::clone(&serving.0.of_links));
    let _registered = Registered::new(serving, &link);
    link.touch(&mut link.inner());
    drive(link, reader, |link, event| match event {
        Event::Opened(slot) => admit(Call::opened(link, slot), &handler),
        Event::Refused(limit) => serving.0.refused(limit),
        _ => {}
    })
    .await
}

/// A connection's place in the list, given back when its task ends, however that happens.
struct Registered(Rc<Shared>, Rc<Link>);

impl Registered {
    fn new(serving: &Serving, link: &Rc<Link>) -> Registered {
        serving.0.links.borrow_mut().push(Rc::clone(link));
        if serving.0.draining.get() {
            link.shutdown();
        }
        Registered(Rc::clone(&serving.0), Rc::clone(link))
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.0.links.borrow_mut().retain(|link| !Rc::ptr_eq(link, &self.1));
    }
}

/// Hands a call on, or refuses what is no gRPC request, as daprd does (vectors callee/wire/…).
fn admit(call: Call, handler: &impl Fn(Call)) {
    match refusal(call.headers()) {
        None => handler(call),
        Some((http, status, message)) => call.refuse(http, status, &message),
    }
}

fn refusal(head: &Fields) -> Option<(&'static str, Code, String)> {
    let field = |name| head.tagged(name).unwrap_or_default();
    let quoted = |before: &str, value: &[u8]| {
        let mut text = before.to_owned();
        quote::go(&mut text, &String::from_utf8_lossy(value));
        text
    };
    if !is_grpc_type(head.tagged(Name::ContentType)) {
        let text = quoted("invalid gRPC request content-type ", field(Name::ContentType));
        return Some(("415", Code::INVALID_ARGUMENT, text));
    }
    if field(Name::Method) != b"POST" {
        let text = quoted("Received a HEADERS frame with :method ", field(Name::Method));
        return Some(("405", Code::INTERNAL, text + " which should be POST"));
    }
    if !field(Name::Path).starts_with(b"/") {
        return Some(("200", Code::UNIMPLEMENTED, quoted("malformed method name: ", field(Name::Path))));
    }
    if head.tagged(Name::GrpcTimeout).is_some_and(|value| metadata::parse_timeout(value).is_err()) {
        let text = quoted("malformed grpc-timeout: ", field(Name::GrpcTimeout));
        return Some(("400", Code::INTERNAL, text));
    }
    match head.tagged(Name::GrpcEncoding) {
        None | Some(b"identity") => None,
        Some(coding) => {
            let text = quoted("grpc: Decompressor is not installed for grpc-encoding ", coding);
            Some(("200", Code::UNIMPLEMENTED, text))
        }
    }
}
