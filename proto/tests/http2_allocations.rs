//! After warm-up a call on an HTTP/2 connection allocates nothing, at either end.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // tests fail by panicking

use proto::http2::{BlockId, Connection, Event, Limits, Literal, Slot};
use proto::time::Tick;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: everything is passed on to the system's allocator as it came; the counter is a plain cell of this thread.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promises are passed on.
        unsafe { System.realloc(memory, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const NOW: Tick = Tick::from_micros(1_000_000_000);

struct Pair {
    client: Connection,
    server: Connection,
    request: BlockId,
    head: BlockId,
    trailers: BlockId,
}

impl Pair {
    fn new() -> Pair {
        let mut client = Connection::client(Limits::default(), NOW);
        let mut server = Connection::server(Limits::default(), NOW);
        let request = client.register(&[
            (":method", "POST"),
            (":scheme", "http"),
            (":path", "/dapr.proto.internals.v1.ServiceInvocation/CallLocalStream"),
            ("content-type", "application/grpc"),
            ("te", "trailers"),
        ]);
        let head = server.register(&[(":status", "200"), ("content-type", "application/grpc")]);
        let trailers = server.register(&[("grpc-status", "0")]);
        let mut pair = Pair { client, server, request, head, trailers };
        pair.exchange();
        pair
    }

    /// Both ends' turns, until both are silent.
    fn exchange(&mut self) {
        while self.client.wants_write() || self.server.wants_write() {
            let out = self.client.write();
            self.server.receive(out, NOW).unwrap();
            out.clear();
            let out = self.server.write();
            self.client.receive(out, NOW).unwrap();
            out.clear();
        }
    }

    /// One call with a body of `size` each way.
    fn call(&mut self, size: usize) {
        let trace = [Literal::new("traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")];
        let slot = self.client.start(self.request, None, &trace).unwrap();
        self.client.data(slot, true, |out| out.resize(out.len() + size, 7));
        self.exchange();
        let at_server = opened(&mut self.server);
        assert_eq!(self.server.received(at_server).len(), size);
        self.server.take(at_server, size);
        self.server.headers(at_server, false, Some(self.head), &[]);
        self.server.data(at_server, false, |out| out.resize(out.len() + size, 9));
        self.server.headers(at_server, true, Some(self.trailers), &[]);
        self.server.release(at_server);
        self.exchange();
        while self.client.poll().is_some() {}
        assert!(self.client.is_complete(slot));
        assert_eq!(self.client.received(slot).len(), size);
        self.client.take(slot, size);
        self.client.release(slot);
        self.exchange();
    }
}

fn opened(server: &mut Connection) -> Slot {
    let slot = std::iter::from_fn(|| server.poll()).find_map(|e| match e {
        Event::Opened(slot) => Some(slot),
        _ => None,
    });
    slot.unwrap()
}

#[test]
fn a_call_allocates_nothing_after_warm_up() {
    for size in [0, 300, 15_000, 40_000] {
        let mut pair = Pair::new();
        (0..200).for_each(|_| pair.call(size));
        let before = ALLOCATIONS.get();
        (0..1000).for_each(|_| pair.call(size));
        assert_eq!(ALLOCATIONS.get() - before, 0, "with bodies of {size} bytes");
    }
}
