//! Streams whose readers stall: others on the connection go on, and what is unread is bounded.

use super::wire::{REQUEST, RESPONSE, START};
use crate::http2::{BlockId, Connection, Event, Limits, Slot};

/// A client and a server without a network between them.
struct Pair {
    client: Connection,
    server: Connection,
    request: BlockId,
    response: BlockId,
    answering: Vec<Slot>,
}

impl Pair {
    fn new(limits: &Limits) -> Pair {
        let mut client = Connection::client(limits.clone(), START);
        let mut server = Connection::server(limits.clone(), START);
        let (request, response) = (client.register(&REQUEST), server.register(&RESPONSE));
        let mut pair = Pair { client, server, request, response, answering: vec![] };
        pair.pass();
        pair
    }

    /// Passes everything on until neither end has anything to say.
    fn pass(&mut self) {
        loop {
            let (up, down) = (std::mem::take(self.client.write()), std::mem::take(self.server.write()));
            if up.is_empty() && down.is_empty() {
                return;
            }
            self.server.receive(&up, START).unwrap();
            self.client.receive(&down, START).unwrap();
            while self.client.poll().is_some() {}
            while let Some(event) = self.server.poll() {
                if let Event::Opened(slot) = event {
                    self.server.headers(slot, false, Some(self.response), &[]);
                    self.answering.push(slot);
                }
            }
        }
    }

    /// A new stream: the slots of its reader and of its writer.
    fn open(&mut self) -> (Slot, Slot) {
        let reader = self.client.start(self.request, None, &[]).unwrap();
        self.pass();
        (reader, self.answering.pop().unwrap())
    }

    fn write(&mut self, writer: Slot, bytes: usize, end: bool) {
        self.server.data(writer, end, |out| out.resize(out.len() + bytes, 7));
        self.pass();
    }

    /// Writes until the stream's window is used up.
    fn fill(&mut self, writer: Slot) {
        while self.server.has_room(writer) {
            self.write(writer, 32 << 10, false);
        }
    }

    fn unread(&self, readers: &[Slot]) -> usize {
        readers.iter().map(|slot| self.client.received(*slot).len()).sum()
    }
}

#[test]
fn stalled_readers_up_to_the_limit_of_streams_leave_another_its_megabyte() {
    let limits = Limits::default();
    let mut pair = Pair::new(&limits);
    let mut readers = vec![];
    for n in 1..limits.concurrent_streams {
        let (reader, writer) = pair.open();
        if n <= 10 {
            // takes what comes at first, for which it may have a larger window
            pair.write(writer, 100 << 10, false);
            pair.client.take(reader, usize::MAX);
            pair.pass();
        }
        if n == 11 {
            pair.client.wait_for(reader, limits.window_growth as usize / 2);
            pair.pass();
        }
        pair.fill(writer);
        readers.push(reader);
    }
    let unread = pair.unread(&readers);
    let windows = readers.len() * limits.stream_window as usize;
    assert!(unread > windows + limits.window_growth as usize / 2, "every window is used up: {unread}");
    assert!(unread <= limits.connection_window as usize, "{unread}");

    let (reader, writer) = pair.open();
    let mut got = 0;
    for _ in 0..32 {
        pair.write(writer, 32 << 10, false);
        got += pair.client.received(reader).len();
        pair.client.take(reader, usize::MAX);
        pair.pass();
    }
    assert_eq!(got, 1 << 20);
    assert_eq!(pair.unread(&readers), unread);
}

#[test]
fn answers_that_are_complete_and_not_released_have_their_place_among_the_streams() {
    let mut pair = Pair::new(&Limits { concurrent_streams: 2, ..Limits::default() });
    let readers = [pair.open(), pair.open()].map(|(reader, writer)| {
        pair.write(writer, 1000, true);
        pair.server.release(writer);
        reader
    });
    assert!(readers.iter().all(|slot| pair.client.received(*slot).len() == 1000));
    readers.iter().for_each(|slot| pair.client.data(*slot, true, |_| ()));
    pair.pass();
    assert_eq!((pair.client.open_streams(), pair.client.room()), (0, 0));
    assert_eq!(pair.client.poll(), None);
    pair.client.release(readers[0]);
    assert_eq!(pair.client.poll(), Some(Event::Room));
    assert_eq!(pair.client.room(), 1);
}

#[test]
fn of_a_stalled_answer_one_piece_waits_at_its_writer() {
    const PIECE: usize = 16 << 10;
    let limits = Limits::default();
    let mut pair = Pair::new(&limits);
    let (reader, writer) = pair.open();
    let (mut written, mut pieces) = (0, 0);
    while pair.server.has_room(writer) {
        pair.write(writer, PIECE, false);
        (written, pieces) = (written + PIECE, pieces + 1);
        assert!(pieces < 100, "{written}");
    }
    assert_eq!(pair.client.received(reader).len(), limits.stream_window as usize);
    assert_eq!(pair.server.unsent(writer), PIECE);
    pair.client.take(reader, PIECE);
    pair.client.take(reader, 2 * PIECE);
    pair.pass();
    assert!(pair.server.has_room(writer), "it goes on");
}

#[test]
fn a_writer_hears_that_its_stalled_stream_goes_on() {
    let mut pair = Pair::new(&Limits::default());
    let (reader, writer) = pair.open();
    pair.fill(writer);
    pair.client.take(reader, usize::MAX);
    let update = std::mem::take(pair.client.write());
    pair.server.receive(&update, START).unwrap();
    pair.server.write();
    let mut events = std::iter::from_fn(|| pair.server.poll());
    assert!(events.any(|event| event == Event::Progress(writer)));
}
