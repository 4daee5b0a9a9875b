//! What one call of the random mix does, and what must come of it: both follow from the seed and the call's number alone.

use proto::rng::Rng;

/// Most bytes of a body that the sidecars let through in this mix.
pub(crate) const MOST: usize = 512 << 10;

/// Where a call goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum To {
    /// The app, through both sidecars.
    App,
    /// The app, through its own sidecar only.
    Own,
    /// An app that is not there.
    Nobody,
    /// The sidecar itself.
    Health,
}

/// How the app answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Length,
    Chunked,
    ToEnd,
    /// Before it reads the body.
    Early,
    /// It says a length, or begins chunks, and closes after so many bytes.
    CutLength(usize),
    CutChunked(usize),
    /// It closes without a word.
    Silence,
    /// It says something that is no HTTP.
    Garbage,
}

/// How the client behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Client {
    Stays,
    /// Closes after so many bytes of the body.
    LeavesInBody(usize),
    /// Closes before the answer.
    LeavesWaiting,
}

/// One call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) number: u64,
    pub(crate) to: To,
    pub(crate) verb: &'static str,
    pub(crate) up: usize,
    pub(crate) chunked: bool,
    pub(crate) status: u16,
    pub(crate) down: usize,
    pub(crate) way: Way,
    pub(crate) client: Client,
    /// The client keeps its connection for the next call.
    pub(crate) keeps: bool,
}

/// What must come out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The app's answer, whole.
    Whole,
    /// An answer that can be seen to be cut off, or an error.
    Cut,
    /// An error with this status.
    Error(u16),
    /// The answer, whole or cut off, or 413: the app answers before it has read a body that turns out to be too large.
    WholeOrTooLarge,
    /// An empty answer of the sidecar's own.
    Own,
    /// The client does not wait for it.
    Nobody,
}

/// What happens between two stretches of calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Nothing,
    KillControl(bool),
    KillDataPlane(bool),
    /// The callee ends in order, and another one starts.
    ReplaceCallee,
}

fn one_of<T: Copy>(rng: &mut Rng, all: &[T]) -> T {
    all[rng.below(all.len() as u64) as usize]
}

/// Mostly small; sometimes at a border of buffers; sometimes large.
fn size(rng: &mut Rng) -> usize {
    match rng.below(10) {
        0..2 => 0,
        2..6 => rng.below(2000) as usize,
        6..8 => one_of(
            rng,
            &[1, 1023, 1024, 2047, 2048, 2049, 4096, 16_383, 16_384, 16_385, 65_535, 65_536, 65_537],
        ),
        8 => rng.below(100_000) as usize,
        _ => rng.below(MOST as u64 / 2) as usize,
    }
}

impl Plan {
    pub(crate) fn of(seed: u64, number: u64) -> Plan {
        let rng = &mut Rng::new(seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        rng.draw();
        let verb = one_of(
            rng,
            &["GET", "GET", "POST", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "PURGE"],
        );
        let with_body = matches!(verb, "POST" | "PUT" | "PATCH" | "PURGE") || rng.below(10) == 0;
        let (up, down) = (if with_body { size(rng) } else { 0 }, size(rng));
        let to = match rng.below(50) {
            0 => To::Nobody,
            1 => To::Health,
            2..8 => To::Own,
            _ => To::App,
        };
        let up = if to == To::App && rng.below(60) == 0 { MOST + 1 } else { up };
        let way = match rng.below(24) {
            0..10 => Way::Length,
            10..17 => Way::Chunked,
            17 => Way::ToEnd,
            18 | 19 => Way::Early,
            20 if down > 0 => Way::CutLength(rng.below(down as u64) as usize),
            21 if down > 0 => Way::CutChunked(rng.below(down as u64) as usize),
            22 => Way::Silence,
            23 => Way::Garbage,
            _ => Way::Length,
        };
        let client = match rng.below(25) {
            0 if up > 0 => Client::LeavesInBody(rng.below(up as u64) as usize),
            1 => Client::LeavesWaiting,
            _ => Client::Stays,
        };
        let status = one_of(rng, &[200, 200, 200, 200, 201, 204, 301, 304, 400, 404, 418, 500, 503]);
        let (chunked, keeps) = (rng.below(3) == 0, rng.below(8) > 0);
        Plan { number, to, verb, up, chunked, status, down, way, client, keeps }
    }

    /// The app's body is none of the message's.
    pub(crate) fn is_bodiless(&self) -> bool {
        self.verb == "HEAD" || matches!(self.status, 204 | 304)
    }

    /// The body the client must see of a whole answer.
    pub(crate) fn body(&self) -> usize {
        if self.is_bodiless() { 0 } else { self.down }
    }

    pub(crate) fn outcome(&self) -> Outcome {
        match (self.client, self.to, self.way) {
            (Client::LeavesInBody(_) | Client::LeavesWaiting, ..) => Outcome::Nobody,
            (_, To::Health, _) => Outcome::Own,
            (_, To::Nobody, _) => Outcome::Error(500),
            (.., Way::Early) if self.up > MOST => Outcome::WholeOrTooLarge,
            (..) if self.up > MOST => Outcome::Error(413),
            (.., Way::Silence | Way::Garbage) => Outcome::Error(500),
            (.., Way::CutLength(_) | Way::CutChunked(_)) if !self.is_bodiless() => Outcome::Cut,
            _ => Outcome::Whole,
        }
    }

    /// How often the app may see it: a connection that is closed without a word may have been an old one, and is tried
    /// once more.
    pub(crate) fn visits(&self) -> std::ops::RangeInclusive<usize> {
        match (self.outcome(), self.way) {
            (Outcome::Nobody, Way::Silence) => 0..=2,
            (Outcome::Nobody, _) => 0..=1,
            (Outcome::Own, _) => 0..=0,
            (Outcome::Error(413) | Outcome::WholeOrTooLarge, _) => 0..=1,
            (Outcome::Error(_), _) if self.to == To::Nobody => 0..=0,
            (_, Way::Silence) => 1..=2,
            _ => 1..=1,
        }
    }
}

impl Plan {
    /// The app may see the beginning of the body only: the client leaves, the body is too large, or the app itself said
    /// that it closes the connection before it read the body.
    pub(crate) fn may_be_cut(&self) -> bool {
        self.client != Client::Stays || self.up > MOST || self.way == Way::Early
    }
}

/// What happens before the stretch that begins with this call.
pub(crate) fn event(seed: u64, number: u64) -> Event {
    let rng = &mut Rng::new(seed.rotate_left(17) ^ number);
    rng.draw();
    let who = rng.below(2) == 0;
    match rng.below(5) {
        0 => Event::KillControl(who),
        1 | 2 => Event::KillDataPlane(who),
        3 => Event::ReplaceCallee,
        _ => Event::Nothing,
    }
}

/// The bytes of a body: those of another call differ from the first one on.
pub(crate) fn bytes(number: u64, length: usize) -> Vec<u8> {
    let rng = &mut Rng::new(number);
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        bytes.extend_from_slice(&rng.draw().to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}
