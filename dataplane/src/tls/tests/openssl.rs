//! OpenSSL as the other end, over a TCP connection on loopback. Skipped, loudly, where there is no `openssl`.

use super::pki::{Authority, HOUR, Leaf};
use super::{ADDRESS, id};
use crate::tls::{Identity, Session, TlsError};
use proto::snapshot::IdentityMaterial;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

const WAIT: Duration = Duration::from_secs(20);

/// A folder with one identity's files, removed at the end.
struct Files(PathBuf);

impl Files {
    fn new(m: &IdentityMaterial) -> Files {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("outrigger-tls-{}-{n}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let files = Files(dir);
        files.write("leaf.pem", &pem("CERTIFICATE", &m.chain[0]));
        files.write("issuer.pem", &pem("CERTIFICATE", &m.chain[1]));
        files.write("ca.pem", &pem("CERTIFICATE", &m.trust_anchors[0]));
        files.write("key.pem", &pem("PRIVATE KEY", &first_version(&m.key)));
        files
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.0.join(name), text).unwrap();
    }

    fn openssl(&self, arguments: &str) -> Command {
        let mut command = Command::new("openssl");
        command.args(arguments.split_whitespace()).current_dir(&self.0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(self.log("openssl.log"));
        command
    }

    fn log(&self, name: &str) -> Stdio {
        std::fs::File::create(self.0.join(name)).unwrap().into()
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", std::fs::read_to_string(self.0.join("openssl.log")).unwrap_or_default());
        }
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A process that does not outlive the test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = format!("-----BEGIN {label}-----\n");
    for line in der.chunks(48) {
        for three in line.chunks(3) {
            let bits = three.iter().fold(0, |bits, b| bits << 8 | u32::from(*b)) << (8 * (3 - three.len()));
            for i in 0..4 {
                let sextet = usize::try_from(bits >> (18 - 6 * i) & 63).unwrap();
                text.push(if i > three.len() { '=' } else { ALPHABET[sextet].into() });
            }
        }
        text.push('\n');
    }
    text + &format!("-----END {label}-----\n")
}

/// An Ed25519 key as PKCS#8 of version 1 (RFC 8410): OpenSSL 3.0 does not read version 2, which ring writes.
pub(super) fn first_version(key: &[u8]) -> Vec<u8> {
    const HEAD: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
    if key.get(5..12) == Some(&HEAD[5..12]) { [&HEAD, &key[16..48]].concat() } else { key.to_vec() }
}

fn openssl_is_here() -> bool {
    let here = Command::new("openssl").arg("version").output().is_ok_and(|o| o.status.success());
    if !here {
        eprintln!("SKIPPED: no `openssl` on this machine");
    }
    here
}

/// A session on a socket.
struct Wire {
    session: Session,
    stream: TcpStream,
}

impl Wire {
    fn new(session: Session, stream: TcpStream) -> Wire {
        stream.set_read_timeout(Some(WAIT)).unwrap();
        Wire { session, stream }
    }

    /// Reads until `enough` says so; what came.
    fn read(&mut self, enough: impl Fn(&Session, &[u8]) -> bool) -> Result<Vec<u8>, TlsError> {
        let (mut plain, mut buffer) = (Vec::new(), [0; 4096]);
        let mut n = 0;
        loop {
            let mut out = Vec::new();
            let result = self.session.open(&mut buffer[..n], &mut out, |p| plain.extend_from_slice(p));
            self.stream.write_all(&out).unwrap();
            result?;
            if enough(&self.session, &plain) {
                return Ok(plain);
            }
            n = self.stream.read(&mut buffer).unwrap();
            assert!(n > 0, "cut");
        }
    }

    /// Reads until the peer has changed its keys.
    fn until_update(&mut self) {
        let mut buffer = [0; 4096];
        while !self.session.traffic().unwrap().begins() {
            let n = self.stream.read(&mut buffer).unwrap();
            assert!(n > 0, "cut");
            let mut out = Vec::new();
            self.session.open(&mut buffer[..n], &mut out, |_| panic!("data")).unwrap();
        }
    }

    fn write(&mut self, plain: &[u8]) {
        let mut out = Vec::new();
        self.session.seal(plain, &mut out).unwrap();
        self.stream.write_all(&out).unwrap();
    }
}

/// Our caller with `s_server`, which answers every line reversed.
fn call_s_server(ours: &IdentityMaterial, theirs: &IdentityMaterial, more: &str) {
    let files = Files::new(theirs);
    let arguments = format!(
        "s_server -accept 127.0.0.1:0 -cert leaf.pem -cert_chain issuer.pem -key key.pem -CAfile ca.pem \
         -Verify 4 -verify_return_error -alpn h2 -rev{more}"
    );
    let mut process = Process(files.openssl(&arguments).spawn().unwrap());
    let mut lines = BufReader::new(process.0.stdout.take().unwrap()).lines();
    let accept = lines.find_map(|l| l.unwrap().strip_prefix("ACCEPT ").map(str::to_owned)).unwrap();
    let stream = TcpStream::connect(&accept).unwrap();
    let identity = Identity::new(ours).unwrap();
    let mut wire = Wire::new(Session::client(&identity, &id("theirs"), ADDRESS).unwrap(), stream);
    wire.read(|session, _| session.is_ready()).unwrap();
    assert_eq!(wire.session.peer().unwrap().id(), &id("theirs"));
    wire.write(b"outrigger\n");
    assert_eq!(wire.read(|_, plain| plain.ends_with(b"\n")).unwrap(), b"reggirtuo\n");
}

/// The connection that `process` makes, unless it ends before.
fn accept(listener: &TcpListener, process: &mut Process) -> TcpStream {
    listener.set_nonblocking(true).unwrap();
    let deadline = Instant::now() + WAIT;
    loop {
        if let Ok((stream, _)) = listener.accept() {
            stream.set_nonblocking(false).unwrap();
            return stream;
        }
        assert!(process.0.try_wait().unwrap().is_none() && Instant::now() < deadline, "nobody called");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// `s_client` calls ours.
fn be_called_by_s_client(
    ours: &IdentityMaterial,
    theirs: &IdentityMaterial,
    more: &str,
) -> Result<Wire, TlsError> {
    let files = Files::new(theirs);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let arguments =
        format!("s_client -connect {} -CAfile ca.pem -quiet{more}", listener.local_addr().unwrap());
    let mut process = Process(files.openssl(&arguments).spawn().unwrap());
    let stream = accept(&listener, &mut process);
    let identity = Identity::new(ours).unwrap();
    let mut wire = Wire::new(Session::server(&identity).unwrap(), stream);
    wire.read(|session, _| session.is_ready())?;
    process.0.stdin.as_mut().unwrap().write_all(b"ahoy\n").unwrap();
    assert_eq!(wire.read(|_, plain| plain.ends_with(b"\n")).unwrap(), b"ahoy\n");
    wire.write(b"aye\n");
    let mut line = String::new();
    BufReader::new(process.0.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "aye\n");
    Ok(wire)
}

const WITH_CERTIFICATE: &str = " -cert leaf.pem -cert_chain issuer.pem -key key.pem";

#[test]
fn openssl_is_called_and_calls_with_every_kind_of_key() {
    if !openssl_is_here() {
        return;
    }
    for algorithm in [&rcgen::PKCS_ED25519, &rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ECDSA_P384_SHA384] {
        let ca = Authority::with(algorithm, (-HOUR, HOUR));
        let theirs = ca.issue(&Leaf { algorithm, ..Leaf::of("theirs") });
        for version in [" -tls1_2", " -tls1_3", ""] {
            call_s_server(&ca.app("ours"), &theirs, version);
            let more = format!("{WITH_CERTIFICATE} -alpn h2{version}");
            let wire = be_called_by_s_client(&ca.app("ours"), &theirs, &more).unwrap();
            assert_eq!(wire.session.peer().unwrap().id(), &id("theirs"));
        }
    }
}

#[test]
fn openssl_without_certificate_or_alpn_or_with_tls_1_1_is_refused() {
    if !openssl_is_here() {
        return;
    }
    let ca = Authority::new();
    let (ours, theirs) = (ca.app("ours"), ca.app("theirs"));
    let refused = |more: &str| be_called_by_s_client(&ours, &theirs, more).err();
    assert_eq!(refused(" -alpn h2 -tls1_3"), Some(TlsError::NoCertificate));
    assert_eq!(refused(" -alpn h2 -tls1_2"), Some(TlsError::NoCertificate));
    assert_eq!(refused(WITH_CERTIFICATE), Some(TlsError::NoAlpn));
    let old = format!("{WITH_CERTIFICATE} -alpn h2 -tls1_1 -cipher DEFAULT@SECLEVEL=0");
    assert!(matches!(refused(&old), Some(TlsError::Protocol(_))));
}

#[test]
fn rsa_chains_are_accepted() {
    if !openssl_is_here() {
        return;
    }
    let ca = Authority::new();
    let ours = ca.app("ours");
    let files = Files::new(&ours);
    files.write("san", "subjectAltName=critical,URI:spiffe://public/ns/default/theirs\n");
    files.write("issuing", "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\n");
    let key = "-newkey rsa:2048 -nodes -subj /O=rsa";
    let steps = [
        format!("req -x509 {key}-root -keyout root.key -out root.pem -days 1"),
        format!("req -new {key}-issuer -keyout issuer.key -out issuer.csr"),
        "x509 -req -in issuer.csr -CA root.pem -CAkey root.key -out issuer.pem -days 1 -extfile issuing"
            .into(),
        format!("req -new {key}-leaf -keyout key.pem -out leaf.csr"),
        "x509 -req -in leaf.csr -CA issuer.pem -CAkey issuer.key -out leaf.pem -days 1 -extfile san".into(),
        "x509 -in leaf.pem -outform DER -out leaf.der".into(),
        "x509 -in issuer.pem -outform DER -out issuer.der".into(),
        "x509 -in root.pem -outform DER -out root.der".into(),
        "pkey -in key.pem -outform DER -out key.der".into(),
    ];
    for step in steps {
        assert!(files.openssl(&step).stdin(Stdio::null()).status().unwrap().success(), "{step}");
    }
    let der = |name: &str| std::fs::read(files.0.join(name)).unwrap();
    let theirs = IdentityMaterial {
        id: id("theirs"),
        chain: vec![der("leaf.der"), der("issuer.der")],
        key: to_pkcs8(&files),
        trust_anchors: vec![der("root.der"), ours.trust_anchors[0].clone()],
        not_after: super::pki::now() + HOUR,
    };
    let mut ours = ours;
    ours.trust_anchors.push(der("root.der"));
    call_s_server(&ours, &theirs_for_openssl(&theirs, &ours), " -tls1_3 ");
    let (a, b) = (Identity::new(&ours).unwrap(), Identity::new(&theirs).unwrap());
    assert_eq!(super::Pair::new(&a, &b, "theirs").shake(), (None, None));
    assert_eq!(super::Pair::new(&b, &a, "ours").shake(), (None, None));
}

fn to_pkcs8(files: &Files) -> Vec<u8> {
    let step = "pkcs8 -topk8 -nocrypt -in key.pem -outform DER -out key.p8";
    assert!(files.openssl(step).status().unwrap().success());
    std::fs::read(files.0.join("key.p8")).unwrap()
}

/// The same identity with the authority that OpenSSL must trust in front.
fn theirs_for_openssl(theirs: &IdentityMaterial, ours: &IdentityMaterial) -> IdentityMaterial {
    IdentityMaterial { trust_anchors: ours.trust_anchors.clone(), ..theirs.clone() }
}

/// Reads lines until one is `wanted`.
fn await_line(lines: &mut impl BufRead, wanted: &str) {
    let mut line = String::new();
    while line.trim_end() != wanted {
        line.clear();
        assert!(lines.read_line(&mut line).unwrap() > 0, "no line {wanted:?}");
    }
}

/// `k` changes OpenSSL's keys, `K` wishes for ours to change too; data goes both ways behind each.
fn update_keys(process: &mut Process, wire: &mut Wire) {
    let mut output = BufReader::new(process.0.stdout.take().unwrap());
    for command in ["k", "K", "K", "k", "K", ""] {
        let input = process.0.stdin.as_mut().unwrap();
        input.write_all(b"theirs\n").unwrap();
        assert_eq!(wire.read(|_, plain| plain.ends_with(b"\n")).unwrap(), b"theirs\n");
        wire.write(b"ours\n");
        await_line(&mut output, "ours");
        if !command.is_empty() {
            let input = process.0.stdin.as_mut().unwrap();
            input.write_all(format!("{command}\n").as_bytes()).unwrap();
            wire.until_update();
        }
    }
}

#[test]
fn openssl_changes_keys_in_both_roles_with_every_cipher() {
    if !openssl_is_here() {
        return;
    }
    let ca = Authority::new();
    let (ours, theirs) = (ca.app("ours"), ca.app("theirs"));
    let identity = Identity::new(&ours).unwrap();
    for suite in ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"] {
        let files = Files::new(&theirs);
        let both = "-cert leaf.pem -cert_chain issuer.pem -key key.pem -CAfile ca.pem -alpn h2 -tls1_3 -ciphersuites";
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let arguments = format!("s_client -connect {at} -quiet -no_ign_eof {both} {suite}");
        let mut process = Process(files.openssl(&arguments).spawn().unwrap());
        let stream = accept(&listener, &mut process);
        let mut wire = Wire::new(Session::server(&identity).unwrap(), stream);
        wire.read(|session, _| session.is_ready()).unwrap();
        update_keys(&mut process, &mut wire);

        let arguments = format!("s_server -accept 127.0.0.1:0 -Verify 4 -verify_return_error {both} {suite}");
        let mut process = Process(files.openssl(&arguments).spawn().unwrap());
        let mut lines = BufReader::new(process.0.stdout.take().unwrap());
        let mut line = String::new();
        while !line.starts_with("ACCEPT ") {
            line.clear();
            assert!(lines.read_line(&mut line).unwrap() > 0);
        }
        let stream = TcpStream::connect(line.trim_start_matches("ACCEPT ").trim_end()).unwrap();
        process.0.stdout = Some(lines.into_inner());
        let mut wire = Wire::new(Session::client(&identity, &id("theirs"), ADDRESS).unwrap(), stream);
        wire.read(|session, _| session.is_ready()).unwrap();
        update_keys(&mut process, &mut wire);
    }
}
