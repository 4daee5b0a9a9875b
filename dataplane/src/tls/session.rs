//! One TLS session: bytes in, plaintext and bytes to send out.

use super::error::TlsError;
use super::external::Trust;
use super::identity::{ALPN, Identity};
use super::records::{Progress, Records, Sealing};
use super::verify::{PeerIdentity, Verifier};
use crate::rt;
use proto::spiffe::SpiffeId;
use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use rustls::server::UnbufferedServerConnection;
use rustls::{AlertDescription, Error};
use std::net::SocketAddr;
use std::sync::Arc;

/// Most bytes kept between two chunks: a record and a handshake message of 64 KiB that is cut over several records.
const MAX_CARRY: usize = 96 * 1024;
/// Header of a record (RFC 8446 section 5.1).
const HEADER: usize = 5;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Handshaking,
    Open,
    PeerClosed,
    Failed,
}

/// A session in either role. It starts silent: a client's first `open` with an empty chunk makes its ClientHello.
pub struct Session {
    records: Records,
    /// Who judges the peer's identity; `None` towards servers outside the mesh, which rustls judges by their name.
    verifier: Option<Arc<Verifier>>,
    state: State,
    peer: Option<PeerIdentity>,
    /// The beginning of a record whose end has not arrived. Empty, and without memory, between whole records.
    carry: Vec<u8>,
    /// Whether `carry` holds a part of a handshake message that is cut over several records: then its beginning need
    /// not be that of a record.
    fragment: bool,
    started: bool,
}

impl Session {
    /// The caller's end of a connection to `address`, which must turn out to be `expected` (its trust domain is not
    /// compared). No server name is sent for an IP address, as in Go.
    pub fn client(
        identity: &Identity,
        expected: &SpiffeId,
        address: SocketAddr,
    ) -> Result<Session, TlsError> {
        let verifier = identity.verifier(Some(expected));
        let config = identity.client_config(Arc::clone(&verifier));
        let name = ServerName::IpAddress(address.ip().into());
        let connection = UnbufferedClientConnection::new(config, name).map_err(|e| protocol(&e))?;
        Ok(Session::new(Records::Client(connection), Some(verifier)))
    }

    /// The callee's end: the caller must present a certificate, and any workload under the trust anchors may.
    pub fn server(identity: &Identity) -> Result<Session, TlsError> {
        let verifier = identity.verifier(None);
        let config = identity.server_config(Arc::clone(&verifier)).map_err(|e| protocol(&e))?;
        let connection = UnbufferedServerConnection::new(config).map_err(|e| protocol(&e))?;
        Ok(Session::new(Records::Server(connection), Some(verifier)))
    }

    /// The client's end of a connection to `host` outside the mesh: the server must prove its name to `trust`.
    pub fn external(trust: &Trust, host: &str) -> Result<Session, TlsError> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| TlsError::Protocol(format!("{host:?} cannot be the name of a server")))?;
        let connection = UnbufferedClientConnection::new(trust.config(), name).map_err(|e| protocol(&e))?;
        Ok(Session::new(Records::Client(connection), None))
    }

    fn new(records: Records, verifier: Option<Arc<Verifier>>) -> Session {
        Session {
            records,
            verifier,
            state: State::Handshaking,
            peer: None,
            carry: Vec::new(),
            fragment: false,
            started: false,
        }
    }

    /// Takes the next bytes of the connection, however they are cut. Every piece of plaintext goes to `plain`; what
    /// must be sent is appended to `out`. On an error `out` holds the alert for the peer, and the session is over.
    pub fn open(
        &mut self,
        chunk: &mut [u8],
        out: &mut Vec<u8>,
        mut plain: impl FnMut(&[u8]),
    ) -> Result<(), TlsError> {
        match self.state {
            State::Failed => return Err(TlsError::Closed),
            State::PeerClosed => return Ok(()),
            State::Handshaking | State::Open => {}
        }
        let done = self.check_first(chunk).and_then(|()| self.take(chunk, out, &mut plain));
        if done.is_err() {
            self.state = State::Failed;
            self.carry = Vec::new();
        }
        done
    }

    /// Appends `plain` as records.
    pub fn seal(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Result<(), TlsError> {
        match self.state {
            State::Handshaking => Err(TlsError::NotReady),
            State::Failed => Err(TlsError::Closed),
            State::Open | State::PeerClosed => {
                self.records.seal(&mut self.carry, plain, out).map_err(|e| sealing(&e))
            }
        }
    }

    /// Whether the handshake is finished, the peer verified and `seal` allowed. A client is ready before the server
    /// has accepted its certificate; a refusal arrives as an alert from `open`.
    pub fn is_ready(&self) -> bool {
        matches!(self.state, State::Open | State::PeerClosed)
    }

    /// Whether nothing more comes from the peer: it said `close_notify`, or the session failed. A connection that
    /// ends before that was cut.
    pub fn is_closed(&self) -> bool {
        matches!(self.state, State::PeerClosed | State::Failed)
    }

    /// The verified peer; `None` until the handshake is finished.
    pub fn peer(&self) -> Option<&PeerIdentity> {
        self.peer.as_ref()
    }

    /// Tells the peer that nothing more will come. Nothing is appended while the handshake runs or after a failure.
    pub fn close_notify(&mut self, out: &mut Vec<u8>) {
        if self.is_ready() {
            let _ = self.records.close_notify(&mut self.carry, out);
        }
    }

    /// A record of any kind and content, for the fuzzer, once the handshake is done.
    #[cfg(fuzzing)]
    pub fn seal_any(&mut self, kind: u8, content: &[u8], out: &mut Vec<u8>) {
        if let Records::Traffic(traffic) = &mut self.records {
            traffic.seal_any(kind, content, out);
        }
    }

    /// The record layer of our own, once it has taken over.
    #[cfg(test)]
    pub(super) fn traffic(&mut self) -> Option<&mut super::traffic::Traffic> {
        match &mut self.records {
            Records::Traffic(traffic) => Some(traffic),
            _ => None,
        }
    }

    /// Whether no byte of an unfinished record is kept, and no memory for one.
    #[cfg(test)]
    pub(super) fn holds_nothing(&self) -> bool {
        self.carry.capacity() == 0
    }

    /// A peer whose first byte begins neither a handshake record nor an alert does not speak TLS.
    fn check_first(&mut self, chunk: &[u8]) -> Result<(), TlsError> {
        match chunk.first() {
            Some(21 | 22) => self.started = true,
            Some(_) if !self.started => return Err(TlsError::NotTls),
            _ => {}
        }
        Ok(())
    }

    fn take(
        &mut self,
        chunk: &mut [u8],
        out: &mut Vec<u8>,
        plain: &mut dyn FnMut(&[u8]),
    ) -> Result<(), TlsError> {
        let taken = if self.carry.is_empty() { 0 } else { self.complete(chunk, out, plain)? };
        let rest = chunk.get_mut(taken..).unwrap_or_default();
        if taken > 0 && rest.is_empty() {
            return Ok(());
        }
        let used = self.run(rest, out, plain)?;
        self.keep(rest.get(used..).unwrap_or_default());
        Ok(())
    }

    /// Keeps the beginning of a record, with room for all of it, in memory of the shard's.
    fn keep(&mut self, rest: &[u8]) {
        if rest.is_empty() {
            return;
        }
        self.carry = rt::turn_buffer();
        self.carry.reserve(rest.len() + missing(rest).min(MAX_CARRY));
        self.carry.extend_from_slice(rest);
    }

    /// Completes the record in `carry` with the beginning of `chunk` and opens it. Returns how much of `chunk` that
    /// took: all of it if the carry could not be emptied.
    fn complete(
        &mut self,
        chunk: &[u8],
        out: &mut Vec<u8>,
        plain: &mut dyn FnMut(&[u8]),
    ) -> Result<usize, TlsError> {
        let mut taken = 0;
        while taken < chunk.len() && !self.carry.is_empty() {
            let wanted = if self.fragment { usize::MAX } else { missing(&self.carry) };
            let wanted = wanted.min(chunk.len() - taken);
            self.extend_carry(chunk.get(taken..taken + wanted).unwrap_or_default())?;
            taken += wanted;
            if self.fragment || missing(&self.carry) == 0 {
                self.open_carry(out, plain)?;
            }
        }
        Ok(taken)
    }

    fn extend_carry(&mut self, more: &[u8]) -> Result<(), TlsError> {
        if self.carry.len() + more.len() > MAX_CARRY {
            return Err(TlsError::Protocol("a handshake message is too long".into()));
        }
        self.carry.reserve(more.len().max(missing(&self.carry)).min(MAX_CARRY));
        self.carry.extend_from_slice(more);
        Ok(())
    }

    fn open_carry(&mut self, out: &mut Vec<u8>, plain: &mut dyn FnMut(&[u8])) -> Result<(), TlsError> {
        let mut carry = core::mem::take(&mut self.carry);
        let used = self.run(&mut carry, out, plain)?;
        if used < carry.len() {
            carry.drain(..used);
            self.carry = carry;
        } else {
            rt::give_back(carry);
        }
        Ok(())
    }

    /// Opens the whole records in `buffer` and returns how many of its bytes are used up.
    fn run(
        &mut self,
        buffer: &mut [u8],
        out: &mut Vec<u8>,
        plain: &mut dyn FnMut(&[u8]),
    ) -> Result<usize, TlsError> {
        let first = self.shake(buffer, out, plain)?;
        if self.state == State::PeerClosed {
            return Ok(buffer.len());
        }
        let rest = buffer.get_mut(first..).unwrap_or_default();
        let whole = if self.fragment { None } else { Some(whole_records(rest)) };
        let used = self.run_records(rest, out, plain)?;
        self.fragment = used < rest.len() && whole != Some(used);
        Ok(first + used)
    }

    /// The handshake with another sidecar, a record at a time: the record layer of our own must begin with the first
    /// record behind it. Where a handshake message is cut over records, rustls stays for good.
    fn shake(
        &mut self,
        buffer: &mut [u8],
        out: &mut Vec<u8>,
        plain: &mut dyn FnMut(&[u8]),
    ) -> Result<usize, TlsError> {
        let mut used = 0;
        while self.state == State::Handshaking && self.verifier.is_some() && !self.fragment {
            let rest = buffer.get_mut(used..).unwrap_or_default();
            let size = record_size(rest).unwrap_or(usize::MAX);
            let Some(first) = rest.get_mut(..size) else { break };
            let n = self.run_records(first, out, plain)?;
            used += n;
            self.fragment = n < size;
            if self.state == State::Open && !self.fragment {
                self.records.take_over().map_err(|e| protocol(&e))?;
            }
        }
        Ok(used)
    }

    fn run_records(
        &mut self,
        buffer: &mut [u8],
        out: &mut Vec<u8>,
        plain: &mut dyn FnMut(&[u8]),
    ) -> Result<usize, TlsError> {
        let mut used = 0;
        loop {
            let rest = buffer.get_mut(used..).unwrap_or_default();
            let deliver = self.state != State::Handshaking;
            let (n, progress) = self.records.open(rest, out, deliver, plain);
            used += n;
            match progress.map_err(|e| self.explain(&e))? {
                Progress::Handshaking => return Ok(used),
                Progress::Established => self.establish(out)?,
                Progress::Open => {
                    self.establish(out)?;
                    return Ok(used);
                }
                Progress::PeerClosed => {
                    self.establish(out)?;
                    self.state = State::PeerClosed;
                    return Ok(buffer.len());
                }
            }
        }
    }

    /// The handshake is finished: nothing is delivered before the protocol and the peer are known to be right.
    fn establish(&mut self, out: &mut Vec<u8>) -> Result<(), TlsError> {
        if self.state != State::Handshaking {
            return Ok(());
        }
        let Some(verifier) = &self.verifier else {
            self.state = State::Open;
            return Ok(());
        };
        let verdict = verifier.verdict().and_then(|v| v.as_ref().ok());
        self.peer = Some(verdict.cloned().ok_or(TlsError::NoCertificate)?);
        if self.records.alpn() != Some(ALPN) {
            let _ = self.records.close_notify(&mut [], out);
            self.peer = None;
            return Err(TlsError::NoAlpn);
        }
        self.state = State::Open;
        Ok(())
    }

    fn explain(&self, error: &Error) -> TlsError {
        match (error, self.verifier.as_ref().and_then(|verifier| verifier.verdict())) {
            (Error::InvalidCertificate(_), Some(Err(rejection))) => TlsError::Rejected(rejection.clone()),
            (Error::NoCertificatesPresented, _) => TlsError::NoCertificate,
            (Error::NoApplicationProtocol, _) => TlsError::NoAlpn,
            (Error::AlertReceived(AlertDescription::NoApplicationProtocol), _) => TlsError::NoAlpn,
            (Error::AlertReceived(alert), _) => TlsError::Alert(words(&format!("{alert:?}"))),
            _ => protocol(error),
        }
    }
}

/// Bytes that the record at the beginning of `carry` lacks, or that its header lacks.
fn missing(carry: &[u8]) -> usize {
    match record_size(carry) {
        Some(size) => size.saturating_sub(carry.len()),
        None => HEADER - carry.len(),
    }
}

/// Size of all records in `buffer` that are whole.
fn whole_records(buffer: &[u8]) -> usize {
    let mut at = 0;
    while let Some(size) = buffer.get(at..).and_then(record_size).filter(|size| *size <= buffer.len() - at) {
        at += size;
    }
    at
}

/// Size of the record at the beginning, once its header is there.
fn record_size(buffer: &[u8]) -> Option<usize> {
    match buffer {
        [_, _, _, high, low, ..] => Some(HEADER + usize::from(u16::from_be_bytes([*high, *low]))),
        _ => None,
    }
}

fn protocol(error: &Error) -> TlsError {
    TlsError::Protocol(error.to_string())
}

fn sealing(error: &Sealing) -> TlsError {
    match error {
        Sealing::Closed => TlsError::Closed,
        Sealing::Broken(error) => protocol(error),
    }
}

/// `BadCertificate` as `bad certificate`.
fn words(name: &str) -> String {
    let mut text = String::new();
    for c in name.chars() {
        if c.is_uppercase() && !text.is_empty() {
            text.push(' ');
        }
        text.extend(c.to_lowercase());
    }
    text
}
