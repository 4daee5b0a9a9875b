//! The end of a turn, on both backends: hooks, and what they send.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // tests fail by panicking

mod rt_common;

use dataplane::rt::{self, Mailbox, Stream, TurnEnd};
use rt_common::{on_both, pair, run, soon};
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io::Read;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

struct Counting {
    calls: Cell<u32>,
    polls: Rc<Cell<u32>>,
    seen: Cell<u32>,
}

impl TurnEnd for Counting {
    fn turn_end(self: Rc<Self>) {
        self.calls.set(self.calls.get() + 1);
        self.seen.set(self.polls.get());
    }
}

#[test]
fn an_end_of_turn_hook_runs_once_when_nothing_is_runnable_and_before_the_shard_sleeps() {
    on_both(|backend| {
        run(backend, || async {
            let polls = Rc::new(Cell::new(0));
            let hook = Rc::new(Counting { calls: Cell::new(0), polls: polls.clone(), seen: Cell::new(0) });
            rt::at_turn_end(hook.clone());
            for _ in 0..5 {
                let polls = polls.clone();
                rt::spawn(async move {
                    polls.set(polls.get() + 1);
                    rt::yield_now().await;
                    polls.set(polls.get() + 1);
                });
            }
            rt::sleep_until(rt::now() + Duration::from_millis(3)).await;
            assert_eq!((hook.calls.get(), hook.seen.get()), (1, 10));
            rt::sleep_until(rt::now() + Duration::from_millis(3)).await;
            assert_eq!(hook.calls.get(), 1, "a registration is for one turn");
        });
    });
}

/// A connection that collects what its users write and sends it once a turn.
struct Collecting {
    stream: RefCell<Stream>,
    buffer: RefCell<Vec<u8>>,
    registered: Cell<bool>,
    sends: Cell<u32>,
}

impl Collecting {
    fn write(self: &Rc<Self>, bytes: &[u8]) {
        self.buffer.borrow_mut().extend_from_slice(bytes);
        if !self.registered.replace(true) {
            rt::at_turn_end(self.clone());
        }
    }
}

impl TurnEnd for Collecting {
    fn turn_end(self: Rc<Self>) {
        self.registered.set(false);
        let mut stream = self.stream.borrow_mut();
        if !stream.can_send() {
            drop(stream);
            self.write(&[]); // next turn
            return;
        }
        let bytes = std::mem::replace(&mut *self.buffer.borrow_mut(), rt::turn_buffer());
        self.sends.set(self.sends.get() + 1);
        stream.send_nowait(bytes).unwrap();
    }
}

#[test]
fn what_a_hook_sends_goes_out_with_the_turn_as_one() {
    on_both(|backend| {
        run(backend, || async {
            let (mut theirs, ours) = pair();
            let connection = Rc::new(Collecting {
                stream: RefCell::new(ours),
                buffer: RefCell::default(),
                registered: Cell::new(false),
                sends: Cell::new(0),
            });
            let (sender, mut receiver) = Mailbox::new();
            std::thread::spawn(move || {
                for _ in 0..50 {
                    let mut got = [0; 30];
                    theirs.read_exact(&mut got).unwrap();
                    sender.send(got).unwrap();
                }
            });
            for round in 1..=50 {
                for part in [b"one a turn", b"from three", b"tasks here"] {
                    let connection = connection.clone();
                    rt::spawn(async move { connection.write(part) });
                }
                // the other side sees it without any further turn of ours
                assert_eq!(&receiver.recv().await.unwrap(), b"one a turnfrom threetasks here");
                assert_eq!(connection.sends.get(), round);
            }
        });
    });
}

#[test]
fn a_hook_may_register_again_and_wake_tasks() {
    on_both(|backend| {
        run(backend, || async {
            struct Again(Cell<u32>, RefCell<Option<Waker>>);
            impl TurnEnd for Again {
                fn turn_end(self: Rc<Self>) {
                    self.0.set(self.0.get() + 1);
                    if self.0.get() < 100 {
                        rt::at_turn_end(self.clone());
                    } else if let Some(waker) = self.1.borrow_mut().take() {
                        waker.wake();
                    }
                }
            }
            let hook = Rc::new(Again(Cell::new(0), RefCell::default()));
            rt::at_turn_end(hook.clone());
            // nothing but the hook ends this wait
            poll_fn(|cx| {
                *hook.1.borrow_mut() = Some(cx.waker().clone());
                if hook.0.get() >= 100 { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
            assert_eq!(hook.0.get(), 100);
        });
    });
}

#[test]
fn a_turn_buffer_comes_back_after_it_was_sent() {
    on_both(|backend| {
        run(backend, || async {
            let (mut theirs, mut ours) = pair();
            let mut buffer = rt::turn_buffer();
            buffer.reserve_exact(5000);
            let capacity = buffer.capacity();
            buffer.extend_from_slice(b"bytes");
            ours.send(buffer).await.unwrap();
            ours.sent(soon()).await.unwrap();
            assert_eq!(rt::turn_buffer().capacity(), capacity);
            rt::give_back(Vec::with_capacity(100));
            rt::give_back(Vec::with_capacity(1 << 20));
            assert!((100..1000).contains(&rt::turn_buffer().capacity()), "large ones are not kept");
            theirs.read_exact(&mut [0; 5]).unwrap();
        });
    });
}
