//! The data plane's end against a small control process of the test's own, over real sockets.

use super::*;
use proto::control::convert::full;
use proto::control::frame::{self, Decoder};
use proto::control::session::{Event, Publisher};
use proto::control::{FromControl, FromDataplane, Snapshot as Message, from_control, from_dataplane};
use proto::snapshot::{Endpoint, IdentityMaterial, Tried, Workload};
use proto::spiffe::SpiffeId;
use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};

/// Longest wait for anything in these tests.
const PATIENCE: Duration = Duration::from_secs(20);

struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Dir {
        let path = std::env::temp_dir().join(format!("outrigger-subscribe-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Dir(path)
    }

    fn socket(&self) -> PathBuf {
        self.0.join("control.sock")
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A control process: one connection at a time.
struct Control {
    stream: UnixStream,
    decoder: Decoder,
    publisher: Publisher,
}

impl Control {
    fn accept(listener: &UnixListener) -> Control {
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Control { stream, decoder: Decoder::new(), publisher: Publisher::new() }
    }

    fn hear(&mut self) -> Event {
        let message = self.message().expect("a message");
        self.publisher.received(message).unwrap()
    }

    /// `None` at the end of the connection.
    fn message(&mut self) -> Option<FromDataplane> {
        let mut bytes = [0; 4096];
        loop {
            if let Some(message) = self.decoder.take().unwrap() {
                return Some(message);
            }
            match self.stream.read(&mut bytes) {
                Ok(0) | Err(_) => return None,
                Ok(count) => self.decoder.push(&bytes[..count]),
            }
        }
    }

    fn say(&mut self, message: &FromControl) {
        let mut bytes = Vec::new();
        frame::encode(message, &mut bytes).unwrap();
        self.stream.write_all(&bytes).unwrap();
    }

    fn say_snapshot(&mut self, message: Message) {
        self.say(&FromControl { message: Some(from_control::Message::Snapshot(Box::new(message))) });
    }

    /// Sends what `picture` changes; the answer.
    fn publish(&mut self, picture: &Arc<Snapshot>) -> Event {
        self.publisher.publish(picture).iter().for_each(|message| self.say(message));
        self.hear()
    }
}

fn picture(version: u64) -> Snapshot {
    let workload = Workload {
        app_id: "orders".into(),
        namespace: "default".into(),
        trust_domain: "public".into(),
        internal_port: 50002,
        ..Workload::default()
    };
    Snapshot { version, workload: Arc::new(workload), ..Snapshot::default() }
}

fn app(id: &str) -> AppRef {
    AppRef { app_id: id.into(), namespace: "default".into() }
}

fn found(port: u16) -> Arc<Route> {
    Arc::new(Route::Endpoints(vec![Endpoint { address: ([10, 0, 0, 1], port).into() }]))
}

/// A subscription and what it delivers.
struct Ours {
    subscription: Subscription,
    updates: Receiver<Update>,
}

impl Ours {
    fn start(socket: &Path, report: impl FnMut() -> Report + Send + 'static) -> Ours {
        let (to, updates) = channel();
        let channel = Channel {
            socket: socket.to_owned(),
            shards: 2,
            backend: Backend::Readiness,
            backend_reason: "refused".into(),
        };
        let deliver = move |update| drop(to.send(update));
        Ours { subscription: start(channel, deliver, report).unwrap(), updates }
    }

    fn snapshot(&self) -> (Arc<Snapshot>, Option<Arc<tls::Identity>>) {
        match self.updates.recv_timeout(PATIENCE).unwrap() {
            Update::Snapshot { snapshot, identity } => (snapshot, identity),
            Update::Resolved { target, .. } => panic!("{target:?} instead of a snapshot"),
            Update::Attached(attached) => panic!("{attached:?} instead of a snapshot"),
        }
    }

    fn resolved(&self) -> (AppRef, Arc<Route>) {
        match self.updates.recv_timeout(PATIENCE).unwrap() {
            Update::Resolved { target, route } => (target, route),
            Update::Snapshot { snapshot, .. } => panic!("snapshot {} instead of a name", snapshot.version),
            Update::Attached(attached) => panic!("{attached:?} instead of a name"),
        }
    }
}

/// Both ends, greeted, with snapshot 1 in force.
fn joined(dir: &Dir) -> (UnixListener, Control, Ours) {
    let listener = UnixListener::bind(dir.socket()).unwrap();
    let ours = Ours::start(&dir.socket(), Report::default);
    let mut control = Control::accept(&listener);
    assert!(matches!(control.hear(), Event::Greeted(_)));
    assert_eq!(control.publish(&Arc::new(picture(1))), Event::Acked { version: 1 });
    assert_eq!(ours.snapshot().0.version, 1);
    (listener, control, ours)
}

#[test]
fn the_data_plane_introduces_itself_and_applies_what_is_pushed() {
    let dir = Dir::new("apply");
    let listener = UnixListener::bind(dir.socket()).unwrap();
    let ours = Ours::start(&dir.socket(), Report::default);
    let mut control = Control::accept(&listener);
    let Event::Greeted(peer) = control.hear() else { panic!("not greeted") };
    assert_eq!((peer.shards, peer.backend, peer.pid), (2, Backend::Readiness, std::process::id()));
    assert_eq!((peer.backend_reason.as_str(), peer.serving), ("refused", 0));
    let mut wanted = picture(1);
    control.publish(&Arc::new(wanted.clone()));
    let (first, _) = ours.snapshot();
    wanted.version = 2;
    wanted.routes.insert(app("a"), found(1));
    assert_eq!(control.publish(&Arc::new(wanted.clone())), Event::Acked { version: 2 });
    let (second, _) = ours.snapshot();
    assert_eq!(*second, wanted);
    assert!(Arc::ptr_eq(&first.workload, &second.workload), "what did not change is shared");
}

#[test]
fn a_name_is_asked_for_and_its_answer_comes_after_the_snapshot_that_holds_it() {
    let dir = Dir::new("resolve");
    let (_listener, mut control, ours) = joined(&dir);
    ours.subscription.resolve(app("a")).unwrap();
    assert_eq!(control.hear(), Event::Resolve(app("a")));
    let mut wanted = picture(2);
    wanted.routes.insert(app("a"), found(1));
    control.publish(&Arc::new(wanted));
    assert!(ours.snapshot().0.routes.contains_key(&app("a")));
    assert_eq!(ours.resolved(), (app("a"), found(1)));
}

#[test]
fn a_name_that_nobody_knows_is_answered_without_a_snapshot() {
    let dir = Dir::new("unknown");
    let (_listener, mut control, ours) = joined(&dir);
    ours.subscription.resolve(app("a")).unwrap();
    control.hear();
    let tried = vec![Tried { way: "mdns".into(), answer: "silence".into() }];
    let nobody = Route::NotFound { tried };
    control.say(&FromControl::resolved(&app("stranger"), &nobody));
    control.say(&FromControl::resolved(&app("a"), &nobody));
    let (target, route) = ours.resolved();
    assert_eq!((target, &*route), (app("a"), &nobody), "an answer that nobody waits for is skipped");
}

#[test]
fn bad_and_newer_snapshots_are_refused_with_reasons_and_the_old_one_stays() {
    let dir = Dir::new("refuse");
    let (_listener, mut control, ours) = joined(&dir);
    let newer = Message { protocol: 9, ..full(&picture(2)) };
    let bad = Message { workload: None, ..full(&picture(3)) };
    let stray = Message { base: 77, ..full(&picture(4)) };
    let reasons = ["protocol 9: this data plane", "workload: missing", "a change to 77, but 1 was applied"];
    for (message, expected) in [newer, bad, stray].into_iter().zip(reasons) {
        let version = message.version;
        control.say_snapshot(message);
        let Some(from_dataplane::Message::Nack(nack)) = control.message().unwrap().message else {
            panic!("no nack")
        };
        assert_eq!((nack.version, nack.wants_full), (version, version == 4));
        assert!(nack.reasons[0].starts_with(expected), "{:?}", nack.reasons);
    }
    control.say_snapshot(full(&picture(5)));
    assert!(matches!(control.message().unwrap().message, Some(from_dataplane::Message::Ack(_))));
    assert_eq!(ours.snapshot().0.version, 5, "nothing in between was delivered");
}

fn material(key_of_leaf: bool) -> IdentityMaterial {
    let id = SpiffeId::new("public", "default", "orders").unwrap();
    let root_key = rcgen::KeyPair::generate().unwrap();
    let mut root = rcgen::CertificateParams::default();
    root.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let root_certificate = root.self_signed(&root_key).unwrap();
    let issuer = rcgen::Issuer::new(root, root_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let mut leaf = rcgen::CertificateParams::default();
    leaf.subject_alt_names = vec![rcgen::SanType::URI(id.to_string().try_into().unwrap())];
    let leaf = leaf.signed_by(&key, &issuer).unwrap();
    let other = rcgen::KeyPair::generate().unwrap();
    IdentityMaterial {
        id,
        chain: vec![leaf.der().to_vec()],
        key: if key_of_leaf { key.serialize_der() } else { other.serialize_der() },
        trust_anchors: vec![root_certificate.der().to_vec()],
        not_after: i64::MAX,
    }
}

#[test]
fn an_identity_is_built_once_for_as_long_as_its_material_is_the_same() {
    let dir = Dir::new("identity");
    let (_listener, mut control, ours) = joined(&dir);
    let mut wanted = Snapshot { identity: Some(Arc::new(material(true))), ..picture(2) };
    assert_eq!(control.publish(&Arc::new(wanted.clone())), Event::Acked { version: 2 });
    let first = ours.snapshot().1.unwrap();
    wanted.version = 3;
    wanted.routes.insert(app("a"), found(1));
    control.publish(&Arc::new(wanted.clone()));
    assert!(Arc::ptr_eq(&first, &ours.snapshot().1.unwrap()));
    let renewed = Snapshot { version: 4, identity: Some(Arc::new(material(true))), ..wanted };
    control.publish(&Arc::new(renewed));
    assert!(!Arc::ptr_eq(&first, &ours.snapshot().1.unwrap()));
}

#[test]
fn a_key_that_does_not_belong_to_the_certificate_is_refused() {
    let dir = Dir::new("key");
    let (_listener, mut control, ours) = joined(&dir);
    let wrong = Snapshot { identity: Some(Arc::new(material(false))), ..picture(2) };
    let Event::Nacked { reasons, .. } = control.publish(&Arc::new(wrong)) else { panic!("taken") };
    assert!(reasons[0].starts_with("identity: "), "{reasons:?}");
    assert_eq!(control.publish(&Arc::new(picture(3))), Event::Acked { version: 3 });
    assert_eq!(ours.snapshot().0.version, 3);
}

#[test]
fn control_comes_back_and_everything_is_told_again() {
    let dir = Dir::new("again");
    let (listener, control, ours) = joined(&dir);
    drop(control);
    ours.subscription.resolve(app("a")).unwrap();
    ours.subscription.draining(Duration::from_secs(3));
    let mut control = Control::accept(&listener);
    let Event::Greeted(peer) = control.hear() else { panic!("not greeted") };
    assert_eq!(peer.serving, 1);
    assert_eq!(control.hear(), Event::Draining { grace: Duration::from_secs(3) });
    assert_eq!(control.hear(), Event::Resolve(app("a")));
    let mut wanted = picture(1);
    wanted.routes.insert(app("a"), found(1));
    assert_eq!(control.publish(&Arc::new(wanted)), Event::Acked { version: 1 });
    assert_eq!(ours.snapshot().0.routes.len(), 1);
    assert_eq!(ours.resolved().0, app("a"));
}

#[test]
fn control_may_come_later_than_the_data_plane() {
    let dir = Dir::new("late");
    let ours = Ours::start(&dir.socket(), Report::default);
    ours.subscription.failed(app("a"), ([10, 0, 0, 1], 1).into());
    let listener = UnixListener::bind(dir.socket()).unwrap();
    let mut control = Control::accept(&listener);
    assert!(matches!(control.hear(), Event::Greeted(_)));
    let failed = Event::Failed { target: app("a"), endpoint: ([10, 0, 0, 1], 1).into() };
    assert_eq!(control.hear(), failed);
}

#[test]
fn a_control_that_breaks_the_protocol_is_left_and_tried_again() {
    let dir = Dir::new("garbage");
    let (listener, mut control, ours) = joined(&dir);
    control.stream.write_all(&[0xff; 64]).unwrap();
    assert!(control.message().is_none(), "the connection ends");
    let mut control = Control::accept(&listener);
    assert!(matches!(control.hear(), Event::Greeted(_)));
    control.say(&FromControl::refusal("wrong house"));
    assert!(control.message().is_none());
    let mut control = Control::accept(&listener);
    assert!(matches!(control.hear(), Event::Greeted(_)));
    assert_eq!(control.publish(&Arc::new(picture(2))), Event::Acked { version: 2 });
    assert_eq!(ours.snapshot().0.version, 2);
}

#[test]
fn a_report_is_told_when_it_is_asked_for() {
    let dir = Dir::new("report");
    let listener = UnixListener::bind(dir.socket()).unwrap();
    let report = || Report { warnings: vec!["w".into()], ..Report::default() };
    let ours = Ours::start(&dir.socket(), report);
    let mut control = Control::accept(&listener);
    control.hear();
    control.say(&FromControl::collect(9));
    let Event::Report(told) = control.hear() else { panic!("no report") };
    assert_eq!((told.id, told.warnings), (9, vec!["w".to_owned()]));
    assert_eq!(ours.subscription.lost(), 0);
}

#[test]
fn dropping_the_subscription_ends_the_connection() {
    let dir = Dir::new("drop");
    let (_listener, mut control, ours) = joined(&dir);
    let clone = ours.subscription.clone();
    drop(ours);
    clone.resolve(app("a")).unwrap();
    assert_eq!(control.hear(), Event::Resolve(app("a")), "a clone is left");
    drop(clone);
    assert!(control.message().is_none());
}
