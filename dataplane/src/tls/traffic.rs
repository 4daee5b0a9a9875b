//! Records of TLS 1.3 opened and sealed in place, once rustls has shaken hands (RFC 8446 sections 4.6, 5 and 6).
//!
//! rustls keeps the secrets and derives the next ones; the keys of the moment are here, and `ring` does the rest. A
//! record that does not authenticate, or that breaks a rule, ends the session with an alert, and nothing of it is handed
//! out. What a peer may do to us without sending data is bounded.
//!
//! ```text
//!   handshake (rustls) ──keys──▶ open, seal ──KeyUpdate, either side──▶ keys of the next generation
//!                                    └──close_notify, alert──▶ closed
//! ```

use super::records::Progress;
use ring::aead::{self, Aad, LessSafeKey, Nonce, UnboundKey};
use rustls::client::ClientConnectionData;
use rustls::kernel::KernelConnection;
use rustls::server::ServerConnectionData;
use rustls::{AlertDescription, ConnectionTrafficSecrets, Error, ExtractedSecrets};
use rustls::{InvalidMessage, PeerMisbehaved};

/// Header of a record.
const HEADER: usize = 5;
/// Largest plaintext of a record (section 5.1).
const MOST_PLAIN: usize = 1 << 14;
/// What this end adds to a plaintext: its type and the tag. It does not pad.
const ADDED: usize = 1 + TAG;
const TAG: usize = 16;
/// Largest protected record, without its header (section 5.2).
const MOST_SEALED: usize = MOST_PLAIN + 256;
/// Largest handshake message that is put together; rustls takes as much.
const MOST_MESSAGE: usize = 0xffff;
/// Records without data between two with data: empty ones, KeyUpdates, tickets.
const MOST_IDLE: u32 = 32;
/// Records under one key before this end changes it: below the 2^24.5 after which AES-GCM loses its margin (section
/// 5.5), and the same for all ciphers.
const RECORDS_A_KEY: u64 = (1 << 24) - 1;

#[cfg(test)]
mod tests;

/// Content types (section 5.1).
mod content {
    pub(super) const ALERT: u8 = 21;
    pub(super) const HANDSHAKE: u8 = 22;
    pub(super) const DATA: u8 = 23;
}

/// Handshake messages that may follow the handshake (section 4).
mod message {
    pub(super) const NEW_SESSION_TICKET: u8 = 4;
    pub(super) const KEY_UPDATE: u8 = 24;
}

/// The secrets of either role.
pub(super) enum Secrets {
    Client(KernelConnection<ClientConnectionData>),
    Server(KernelConnection<ServerConnectionData>),
}

impl Secrets {
    fn next_tx(&mut self) -> Result<Keys, Error> {
        Keys::new(match self {
            Secrets::Client(secrets) => secrets.update_tx_secret()?,
            Secrets::Server(secrets) => secrets.update_tx_secret()?,
        })
    }

    fn next_rx(&mut self) -> Result<Keys, Error> {
        Keys::new(match self {
            Secrets::Client(secrets) => secrets.update_rx_secret()?,
            Secrets::Server(secrets) => secrets.update_rx_secret()?,
        })
    }

    /// Only a server issues tickets.
    fn takes_tickets(&self) -> bool {
        matches!(self, Secrets::Client(_))
    }
}

/// Both directions of a connection.
pub(super) struct Traffic {
    secrets: Secrets,
    rx: Keys,
    tx: Keys,
    /// The beginning of a handshake message that is cut over records.
    message: Vec<u8>,
    /// Records without data since the last one with data.
    idle: u32,
    /// The peer wants this end's keys changed before the next data (section 4.6.3).
    owes_update: bool,
    /// This end has said its last word.
    closed: bool,
    records_a_key: u64,
}

impl Traffic {
    /// Goes on where rustls stopped.
    pub(super) fn new(keys: ExtractedSecrets, secrets: Secrets) -> Result<Traffic, Error> {
        Ok(Traffic {
            secrets,
            rx: Keys::new(keys.rx)?,
            tx: Keys::new(keys.tx)?,
            message: Vec::new(),
            idle: 0,
            owes_update: false,
            closed: false,
            records_a_key: RECORDS_A_KEY,
        })
    }

    /// Opens the whole records in `buffer`, in place; their data goes to `plain`. Returns how many bytes are used up. On
    /// an error the alert is appended to `out`.
    pub(super) fn open(
        &mut self,
        buffer: &mut [u8],
        out: &mut Vec<u8>,
        plain: &mut dyn FnMut(&[u8]),
    ) -> (usize, Result<Progress, Error>) {
        let mut used = 0;
        loop {
            match self.open_first(buffer.get_mut(used..).unwrap_or_default(), plain) {
                Ok(None) => return (used, Ok(Progress::Open)),
                Ok(Some(first)) => {
                    used += first.size;
                    if first.closes {
                        return (used, Ok(Progress::PeerClosed));
                    }
                }
                Err(error) => {
                    self.fail(&error, out);
                    return (used, Err(error));
                }
            }
        }
    }

    /// The first record in `buffer`, if it is whole.
    fn open_first(
        &mut self,
        buffer: &mut [u8],
        plain: &mut dyn FnMut(&[u8]),
    ) -> Result<Option<Opened>, Error> {
        let Some((header, rest)) = buffer.split_first_chunk_mut::<HEADER>() else { return Ok(None) };
        let [kind, _, _, high, low] = *header;
        let length = usize::from(u16::from_be_bytes([high, low]));
        if kind != content::DATA {
            return Err(InvalidMessage::UnexpectedMessage("a record that is not protected").into());
        }
        if length > MOST_SEALED {
            return Err(Error::PeerSentOversizedRecord);
        }
        let Some(record) = rest.get_mut(..length) else { return Ok(None) };
        let (kind, inner) = self.rx.open(*header, record)?;
        let closes = self.take(kind, inner, plain)?;
        Ok(Some(Opened { size: HEADER + length, closes }))
    }

    /// What is in a record. Returns whether the peer has said that it sends no more.
    fn take(&mut self, kind: u8, inner: &[u8], plain: &mut dyn FnMut(&[u8])) -> Result<bool, Error> {
        if kind != content::HANDSHAKE && !self.message.is_empty() {
            return Err(PeerMisbehaved::MessageInterleavedWithHandshakeMessage.into());
        }
        match kind {
            content::DATA if !inner.is_empty() => {
                self.idle = 0;
                plain(inner);
                return Ok(false);
            }
            content::DATA => {}
            content::HANDSHAKE => self.handshake(inner)?,
            content::ALERT if alert(inner)? => return Ok(true),
            content::ALERT => {}
            _ => return Err(InvalidMessage::UnexpectedMessage("a record of an unknown kind").into()),
        }
        self.idle += 1;
        match self.idle > MOST_IDLE {
            true => Err(PeerMisbehaved::TooManyEmptyFragments.into()),
            false => Ok(false),
        }
    }

    /// Handshake messages after the handshake, cut over records as the peer likes. Tickets are ignored: nothing is ever
    /// resumed.
    fn handshake(&mut self, fragment: &[u8]) -> Result<(), Error> {
        if fragment.is_empty() {
            return Err(InvalidMessage::InvalidEmptyPayload.into());
        }
        self.message.extend_from_slice(fragment);
        while let Some((&[kind, a, b, c], rest)) = self.message.split_first_chunk::<4>() {
            let length = u32::from_be_bytes([0, a, b, c]) as usize;
            if length > MOST_MESSAGE {
                return Err(InvalidMessage::HandshakePayloadTooLarge.into());
            }
            let whole = rest.get(..length);
            match (kind, whole) {
                (message::KEY_UPDATE, _) if length != 1 => {
                    return Err(InvalidMessage::TrailingData("KeyUpdate").into());
                }
                (message::KEY_UPDATE, None) => return Ok(()),
                (message::KEY_UPDATE, Some(&[wish @ 0..=1])) => {
                    if rest.len() > 1 {
                        return Err(PeerMisbehaved::KeyEpochWithPendingFragment.into());
                    }
                    self.rx = self.secrets.next_rx()?;
                    self.owes_update |= wish == 1;
                }
                (message::KEY_UPDATE, _) => return Err(InvalidMessage::InvalidKeyUpdate.into()),
                (message::NEW_SESSION_TICKET, _) if !self.secrets.takes_tickets() => {
                    return Err(InvalidMessage::UnexpectedMessage("a ticket from a client").into());
                }
                (message::NEW_SESSION_TICKET, None) => return Ok(()),
                (message::NEW_SESSION_TICKET, Some(_)) => {}
                _ => return Err(InvalidMessage::UnexpectedMessage("a handshake message").into()),
            }
            self.message.drain(..4 + length);
        }
        if self.message.is_empty() {
            self.message = Vec::new();
        }
        Ok(())
    }

    /// Appends `plain` as records. `false` if this end has closed.
    pub(super) fn seal(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Result<bool, Error> {
        if self.closed {
            return Ok(false);
        }
        out.reserve(plain.len() + plain.len().div_ceil(MOST_PLAIN) * (HEADER + ADDED));
        for piece in plain.chunks(MOST_PLAIN) {
            if self.owes_update || self.tx.number >= self.records_a_key {
                self.update(out)?;
            }
            self.tx.seal(content::DATA, piece, out)?;
        }
        Ok(true)
    }

    /// Changes this end's keys, and tells the peer under the old ones.
    fn update(&mut self, out: &mut Vec<u8>) -> Result<(), Error> {
        self.tx.seal(content::HANDSHAKE, &[message::KEY_UPDATE, 0, 0, 1, 0], out)?;
        self.tx = self.secrets.next_tx()?;
        self.owes_update = false;
        Ok(())
    }

    /// Appends the alert `close_notify`, once.
    pub(super) fn close_notify(&mut self, out: &mut Vec<u8>) -> Result<bool, Error> {
        const WARNING: u8 = 1;
        if std::mem::replace(&mut self.closed, true) {
            return Ok(false);
        }
        self.tx.seal(content::ALERT, &[WARNING, u8::from(AlertDescription::CloseNotify)], out)?;
        Ok(true)
    }

    /// Tells the peer what it did wrong. Nothing follows an alert, and an alert is not answered by one.
    fn fail(&mut self, error: &Error, out: &mut Vec<u8>) {
        const FATAL: u8 = 2;
        let closed = std::mem::replace(&mut self.closed, true);
        if let Some(why) = description(error).filter(|_| !closed) {
            let _ = self.tx.seal(content::ALERT, &[FATAL, u8::from(why)], out);
        }
    }
}

#[cfg(fuzzing)]
impl Traffic {
    /// A record of any kind; behind a KeyUpdate the next keys are used.
    pub(super) fn seal_any(&mut self, kind: u8, content: &[u8], out: &mut Vec<u8>) {
        let _ = self.tx.seal(kind, content, out);
        if kind == content::HANDSHAKE && matches!(content, [message::KEY_UPDATE, 0, 0, 1, 0 | 1]) {
            let _ = self.secrets.next_tx().map(|keys| self.tx = keys);
        }
    }
}

#[cfg(test)]
impl Traffic {
    /// Whether nothing came yet under the peer's keys of the moment.
    pub(super) fn begins(&self) -> bool {
        self.rx.number == 0
    }
}

/// A record that was opened.
struct Opened {
    size: usize,
    /// The peer sends no more.
    closes: bool,
}

/// An alert (section 6): all but two end the session, whatever level they claim. Returns whether it was `close_notify`.
fn alert(inner: &[u8]) -> Result<bool, Error> {
    let &[_, description] = inner else {
        return Err(InvalidMessage::TrailingData("alert").into());
    };
    match AlertDescription::from(description) {
        AlertDescription::CloseNotify => Ok(true),
        AlertDescription::UserCanceled => Ok(false), // close_notify follows
        other => Err(Error::AlertReceived(other)),
    }
}

/// The alert that an error of the peer's deserves.
fn description(error: &Error) -> Option<AlertDescription> {
    Some(match error {
        Error::AlertReceived(_) => return None,
        Error::DecryptError => AlertDescription::BadRecordMac,
        Error::PeerSentOversizedRecord => AlertDescription::RecordOverflow,
        Error::PeerMisbehaved(_) => AlertDescription::UnexpectedMessage,
        Error::InvalidMessage(InvalidMessage::UnexpectedMessage(_) | InvalidMessage::InvalidEmptyPayload) => {
            AlertDescription::UnexpectedMessage
        }
        Error::InvalidMessage(InvalidMessage::InvalidKeyUpdate) => AlertDescription::IllegalParameter,
        Error::InvalidMessage(_) => AlertDescription::DecodeError,
        _ => AlertDescription::InternalError,
    })
}

/// The keys of one direction and generation.
struct Keys {
    key: LessSafeKey,
    iv: [u8; aead::NONCE_LEN],
    /// Of the next record.
    number: u64,
}

impl Keys {
    fn new((number, secrets): (u64, ConnectionTrafficSecrets)) -> Result<Keys, Error> {
        use ConnectionTrafficSecrets::{Aes128Gcm, Aes256Gcm, Chacha20Poly1305};
        let (algorithm, key, iv) = match &secrets {
            Aes128Gcm { key, iv } => (&aead::AES_128_GCM, key, iv),
            Aes256Gcm { key, iv } => (&aead::AES_256_GCM, key, iv),
            Chacha20Poly1305 { key, iv } => (&aead::CHACHA20_POLY1305, key, iv),
            _ => return Err(Error::General("a cipher that is not offered".into())),
        };
        let key = UnboundKey::new(algorithm, key.as_ref()).map_err(|_| Error::EncryptError)?;
        let iv = iv.as_ref().try_into().map_err(|_| Error::EncryptError)?;
        Ok(Keys { key: LessSafeKey::new(key), iv, number })
    }

    /// The nonce of the next record (section 5.3). No number comes twice: at the last one there is an error.
    fn nonce(&mut self) -> Result<Nonce, Error> {
        let mut nonce = self.iv;
        let number = self.number.to_be_bytes();
        nonce.iter_mut().skip(aead::NONCE_LEN - number.len()).zip(number).for_each(|(a, b)| *a ^= b);
        self.number = self.number.checked_add(1).ok_or(Error::EncryptError)?;
        Ok(Nonce::assume_unique_for_key(nonce))
    }

    /// Opens a record in place: its type and its content, without padding (sections 5.2 and 5.4).
    fn open<'r>(&mut self, header: [u8; HEADER], record: &'r mut [u8]) -> Result<(u8, &'r [u8]), Error> {
        let nonce = self.nonce()?;
        let opened = self.key.open_in_place(nonce, Aad::from(header), record);
        let inner: &[u8] = opened.map_err(|_| Error::DecryptError)?;
        if inner.len() > MOST_PLAIN + 1 {
            return Err(Error::PeerSentOversizedRecord);
        }
        let last = inner.iter().rposition(|byte| *byte != 0);
        match last.and_then(|at| inner.split_at_checked(at)) {
            Some((content, &[kind, ..])) => Ok((kind, content)),
            _ => Err(PeerMisbehaved::IllegalTlsInnerPlaintext.into()),
        }
    }

    /// Appends a record. On an error nothing is appended.
    fn seal(&mut self, kind: u8, content: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        let nonce = self.nonce()?;
        let [high, low] =
            u16::try_from(content.len() + ADDED).map_err(|_| Error::EncryptError)?.to_be_bytes();
        let header = [content::DATA, 3, 3, high, low];
        let at = out.len();
        out.extend_from_slice(&header);
        out.extend_from_slice(content);
        out.push(kind);
        let inner = out.get_mut(at + HEADER..).unwrap_or_default();
        match self.key.seal_in_place_separate_tag(nonce, Aad::from(header), inner) {
            Ok(tag) => out.extend_from_slice(tag.as_ref()),
            Err(_) => {
                out.truncate(at);
                return Err(Error::EncryptError);
            }
        }
        Ok(())
    }
}
