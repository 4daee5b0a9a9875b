//! The seam to the record layer: two methods, `open` and `seal`. rustls is behind it, and between sidecars, once it has
//! shaken hands, [`Traffic`].

use super::traffic::{Secrets, Traffic};
use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus};
use rustls::{Error, ProtocolVersion};

/// Largest plaintext of a record (RFC 8446 section 5.1).
const RECORD: usize = 16384;
/// What a record adds to its plaintext at most: header 5, explicit nonce 8 (TLS 1.2), type 1, tag 16.
const OVERHEAD: usize = 32;

/// Where the records of a buffer led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// The handshake needs more bytes.
    Handshaking,
    /// The handshake is finished, and plaintext waits until the session allows its delivery.
    Established,
    /// Everything whole has been opened.
    Open,
    /// The peer has said that it sends no more.
    PeerClosed,
}

/// One end's connection.
pub(super) enum Records {
    Client(UnbufferedClientConnection),
    Server(UnbufferedServerConnection),
    /// TLS 1.3 after the handshake.
    Traffic(Box<Traffic>),
    /// Given up.
    Gone,
}

impl Records {
    /// rustls hands over its keys, if the handshake is finished and was one of TLS 1.3. It must have seen no record
    /// behind the handshake: what it owes the peer for such a one (a KeyUpdate) would be lost.
    pub(super) fn take_over(&mut self) -> Result<(), Error> {
        let ready = |version, handshaking: bool| version == Some(ProtocolVersion::TLSv1_3) && !handshaking;
        let ready = match self {
            Records::Client(connection) => ready(connection.protocol_version(), connection.is_handshaking()),
            Records::Server(connection) => ready(connection.protocol_version(), connection.is_handshaking()),
            Records::Traffic(_) | Records::Gone => false,
        };
        if !ready {
            return Ok(());
        }
        let (keys, secrets) = match std::mem::replace(self, Records::Gone) {
            Records::Client(connection) => {
                let (keys, secrets) = connection.dangerous_into_kernel_connection()?;
                (keys, Secrets::Client(secrets))
            }
            Records::Server(connection) => {
                let (keys, secrets) = connection.dangerous_into_kernel_connection()?;
                (keys, Secrets::Server(secrets))
            }
            Records::Traffic(_) | Records::Gone => return Ok(()),
        };
        *self = Records::Traffic(Box::new(Traffic::new(keys, secrets)?));
        Ok(())
    }

    /// Opens the whole records in `buffer`: plaintext goes to `plain` if `deliver` allows it, what the protocol wants
    /// to say is appended to `out`. Returns how many bytes are used up; the others must come again, in front of what
    /// follows them.
    pub(super) fn open(
        &mut self,
        buffer: &mut [u8],
        out: &mut Vec<u8>,
        deliver: bool,
        plain: &mut dyn FnMut(&[u8]),
    ) -> (usize, Result<Progress, Error>) {
        match self {
            Records::Client(connection) => open(connection, buffer, out, deliver, plain),
            Records::Server(connection) => open(connection, buffer, out, deliver, plain),
            Records::Traffic(traffic) => traffic.open(buffer, out, plain),
            Records::Gone => (0, Err(Error::HandshakeNotComplete)),
        }
    }

    /// Appends `plain` as records. `pending` are the bytes that `open` has left over.
    pub(super) fn seal(
        &mut self,
        pending: &mut [u8],
        plain: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), Sealing> {
        let what = What::Plaintext(plain);
        match self {
            Records::Client(connection) => seal(connection, pending, what, out),
            Records::Server(connection) => seal(connection, pending, what, out),
            Records::Traffic(traffic) => sealed(traffic.seal(plain, out)),
            Records::Gone => Err(Sealing::Closed),
        }
    }

    /// Appends the alert `close_notify`.
    pub(super) fn close_notify(&mut self, pending: &mut [u8], out: &mut Vec<u8>) -> Result<(), Sealing> {
        match self {
            Records::Client(connection) => seal(connection, pending, What::CloseNotify, out),
            Records::Server(connection) => seal(connection, pending, What::CloseNotify, out),
            Records::Traffic(traffic) => sealed(traffic.close_notify(out)),
            Records::Gone => Err(Sealing::Closed),
        }
    }

    /// The negotiated protocol.
    pub(super) fn alpn(&self) -> Option<&[u8]> {
        match self {
            Records::Client(connection) => connection.alpn_protocol(),
            Records::Server(connection) => connection.alpn_protocol(),
            Records::Traffic(_) | Records::Gone => None,
        }
    }
}

fn sealed(done: Result<bool, Error>) -> Result<(), Sealing> {
    match done {
        Ok(true) => Ok(()),
        Ok(false) => Err(Sealing::Closed),
        Err(error) => Err(Sealing::Broken(error)),
    }
}

/// Why nothing was sealed.
pub(super) enum Sealing {
    /// The connection is closed or has not been opened.
    Closed,
    /// The connection is broken.
    Broken(Error),
}

enum What<'a> {
    Plaintext(&'a [u8]),
    CloseNotify,
}

/// What both ends of rustls have in common.
trait Connection {
    type Data;

    fn process<'c, 'i>(&'c mut self, buffer: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data>;

    /// Whether something waits to be encoded.
    fn has_output(&self) -> bool;
}

impl Connection for UnbufferedClientConnection {
    type Data = ClientConnectionData;

    fn process<'c, 'i>(&'c mut self, buffer: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(buffer)
    }

    fn has_output(&self) -> bool {
        self.wants_write()
    }
}

impl Connection for UnbufferedServerConnection {
    type Data = ServerConnectionData;

    fn process<'c, 'i>(&'c mut self, buffer: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(buffer)
    }

    fn has_output(&self) -> bool {
        self.wants_write()
    }
}

fn open<C: Connection>(
    connection: &mut C,
    buffer: &mut [u8],
    out: &mut Vec<u8>,
    deliver: bool,
    plain: &mut dyn FnMut(&[u8]),
) -> (usize, Result<Progress, Error>) {
    let mut used = 0;
    loop {
        let rest = buffer.get_mut(used..).unwrap_or_default();
        let UnbufferedStatus { mut discard, state, .. } = connection.process(rest);
        let step = state.and_then(|state| handle(state, &mut discard, out, deliver, plain));
        used += discard;
        match step {
            Ok(None) => {}
            Ok(Some(progress)) => return (used, Ok(progress)),
            Err(error) => {
                drain_alert(connection, buffer.get_mut(used..).unwrap_or_default(), out);
                return (used, Err(error));
            }
        }
    }
}

/// One state of the connection; `None` when there is another to come.
fn handle<D>(
    state: ConnectionState<'_, '_, D>,
    discard: &mut usize,
    out: &mut Vec<u8>,
    deliver: bool,
    plain: &mut dyn FnMut(&[u8]),
) -> Result<Option<Progress>, Error> {
    match state {
        ConnectionState::ReadTraffic(_) if !deliver => return Ok(Some(Progress::Established)),
        ConnectionState::ReadTraffic(mut traffic) => {
            while let Some(record) = traffic.next_record() {
                let record = record?;
                *discard += record.discard;
                plain(record.payload);
            }
        }
        ConnectionState::EncodeTlsData(mut data) => append(out, 512, encode_needs, |o| data.encode(o))?,
        ConnectionState::TransmitTlsData(data) => data.done(),
        ConnectionState::BlockedHandshake => return Ok(Some(Progress::Handshaking)),
        ConnectionState::WriteTraffic(_) => return Ok(Some(Progress::Open)),
        ConnectionState::PeerClosed | ConnectionState::Closed => return Ok(Some(Progress::PeerClosed)),
        _ => return Err(Error::General("early data".into())),
    }
    Ok(None)
}

/// After an error the alert waits in the connection: it comes out before anything else is looked at. `rest` must be
/// what was left over, because the connection counts on it; once nothing waits it must not be looked at again.
fn drain_alert<C: Connection>(connection: &mut C, rest: &mut [u8], out: &mut Vec<u8>) {
    while connection.has_output() {
        let Ok(ConnectionState::EncodeTlsData(mut data)) = connection.process(rest).state else { return };
        if append(out, 64, encode_needs, |o| data.encode(o)).is_err() {
            return;
        }
    }
}

fn seal<C: Connection>(
    connection: &mut C,
    pending: &mut [u8],
    what: What<'_>,
    out: &mut Vec<u8>,
) -> Result<(), Sealing> {
    loop {
        let status = connection.process(pending);
        match status.state.map_err(Sealing::Broken)? {
            ConnectionState::WriteTraffic(mut traffic) => {
                return match what {
                    What::Plaintext(plain) => {
                        append(out, sealed_size(plain.len()), encrypt_needs, |o| traffic.encrypt(plain, o))
                    }
                    What::CloseNotify => append(out, 64, encrypt_needs, |o| traffic.queue_close_notify(o)),
                }
                .map_err(Sealing::Broken);
            }
            ConnectionState::EncodeTlsData(mut data) => {
                append(out, 512, encode_needs, |o| data.encode(o)).map_err(Sealing::Broken)?;
            }
            ConnectionState::TransmitTlsData(data) => data.done(),
            ConnectionState::PeerClosed => {}
            _ => return Err(Sealing::Closed),
        }
    }
}

fn sealed_size(plain: usize) -> usize {
    plain + plain.div_ceil(RECORD).max(1) * OVERHEAD
}

/// Lets `write` fill the end of `out`, with `guess` bytes of room or, when it says so, with what it needs.
fn append<E: core::fmt::Display>(
    out: &mut Vec<u8>,
    guess: usize,
    needs: impl Fn(&E) -> Option<usize>,
    mut write: impl FnMut(&mut [u8]) -> Result<usize, E>,
) -> Result<(), Error> {
    let at = out.len();
    let mut room = guess;
    loop {
        out.resize(at + room, 0);
        let written = write(out.get_mut(at..).unwrap_or_default());
        match written {
            Ok(n) => {
                out.truncate(at + n);
                return Ok(());
            }
            Err(error) => {
                out.truncate(at);
                room = needs(&error).ok_or_else(|| Error::General(error.to_string()))?;
            }
        }
    }
}

fn encode_needs(error: &EncodeError) -> Option<usize> {
    match error {
        EncodeError::InsufficientSize(size) => Some(size.required_size),
        EncodeError::AlreadyEncoded => None,
    }
}

fn encrypt_needs(error: &EncryptError) -> Option<usize> {
    match error {
        EncryptError::InsufficientSize(size) => Some(size.required_size),
        EncryptError::EncryptExhausted => None,
    }
}
