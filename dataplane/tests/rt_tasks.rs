//! The seam's tasks, wakes and mailboxes, on both backends.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // tests fail by panicking

mod rt_common;

use dataplane::rt::{self, Mailbox, Shards, Tick};
use rt_common::{on_both, pair, run, run_with, settled, take, until};
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io::{Read, Write};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::Duration;

type Log = Rc<RefCell<Vec<&'static str>>>;

#[test]
fn tasks_run_in_the_order_they_became_runnable() {
    on_both(|backend| {
        run(backend, || async {
            let log: Log = Rc::default();
            for name in ["a", "b", "c"] {
                let log = log.clone();
                rt::spawn(async move {
                    log.borrow_mut().push(name);
                    rt::yield_now().await;
                    log.borrow_mut().push(name);
                });
            }
            rt::yield_now().await;
            rt::yield_now().await;
            assert_eq!(*log.borrow(), ["a", "b", "c", "a", "b", "c"]);
        });
    });
}

/// Risk 1 of glommio as the executor: the shard may sleep only if a task that another one woke has run before.
#[test]
fn a_task_woken_by_another_runs_before_the_shard_sleeps() {
    on_both(|backend| {
        run(backend.clone(), || async {
            // a chain longer than the rounds between two looks at the kernel, with nothing else to end a sleep
            let passed = Rc::new(Cell::new(0));
            let places: Rc<RefCell<Vec<Option<Waker>>>> = Rc::new(RefCell::new(vec![None; 101]));
            for number in 1..=100usize {
                let (passed, places) = (passed.clone(), places.clone());
                rt::spawn(async move {
                    poll_fn(|cx| {
                        if passed.get() + 1 == number {
                            return Poll::Ready(());
                        }
                        places.borrow_mut()[number] = Some(cx.waker().clone());
                        Poll::Pending
                    })
                    .await;
                    passed.set(number);
                    if let Some(next) = places.borrow_mut().get_mut(number + 1).and_then(Option::take) {
                        next.wake();
                    }
                });
            }
            until("the whole chain has run", || passed.get() == 100).await;
        });
        // and without the timer that `until` sets: the last link ends the shard
        run(backend, || async {
            let (sender, mut receiver) = Mailbox::new();
            rt::spawn(async move {
                for _ in 0..40 {
                    rt::yield_now().await;
                }
                sender.send(()).unwrap();
            });
            receiver.recv().await.unwrap();
        });
    });
}

#[test]
fn a_task_that_never_waits_does_not_keep_the_network_waiting() {
    on_both(|backend| {
        run(backend, || async {
            let (mut theirs, mut ours) = pair();
            let busy = rt::spawn(async {
                loop {
                    rt::yield_now().await;
                }
            });
            theirs.write_all(b"hello").unwrap();
            assert_eq!(take(&mut ours, 5).await, b"hello");
            ours.send("world").await.unwrap();
            let read = rt::blocking(move || {
                let mut answer = [0; 5];
                theirs.read_exact(&mut answer).unwrap();
                answer
            });
            assert_eq!(&read.await, b"world");
            busy.cancel();
        });
    });
}

struct OnDrop(Log, &'static str);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.borrow_mut().push(self.1);
    }
}

#[test]
fn a_cancelled_task_is_dropped_wherever_it_was() {
    on_both(|backend| {
        run(backend, || async {
            let log: Log = Rc::default();
            let not_begun = OnDrop(log.clone(), "not begun");
            let first = rt::spawn(async move {
                drop(not_begun);
                unreachable!("cancelled before it began");
            });
            first.cancel();
            let waiting = OnDrop(log.clone(), "waiting");
            let second = rt::spawn(async move {
                let _waiting = waiting;
                rt::sleep_until(Tick::NEVER).await;
            });
            rt::yield_now().await;
            assert!(!second.is_finished());
            second.cancel();
            rt::yield_now().await;
            rt::yield_now().await;
            assert_eq!(*log.borrow(), ["not begun", "waiting"]);

            let (mut theirs, mut ours) = pair();
            let receiving = rt::spawn(async move { drop(ours.recv(Tick::NEVER).await) });
            rt::sleep_until(rt::now() + Duration::from_millis(2)).await;
            receiving.cancel();
            settled(128, 0).await;
            assert_eq!(theirs.read(&mut [0; 1]).unwrap(), 0);
        });
    });
}

#[test]
fn a_task_may_cancel_itself_and_places_are_used_again() {
    on_both(|backend| {
        run(backend, || async {
            let ran = Rc::new(Cell::new(0));
            for _ in 0..10_000 {
                let own: Rc<RefCell<Option<rt::Task>>> = Rc::default();
                let (myself, ran) = (own.clone(), ran.clone());
                *own.borrow_mut() = Some(rt::spawn(async move {
                    ran.set(ran.get() + 1);
                    let task = myself.borrow_mut().take();
                    task.unwrap().cancel();
                    rt::yield_now().await;
                    unreachable!("cancelled");
                }));
                rt::yield_now().await;
            }
            assert_eq!(ran.get(), 10_000);
        });
    });
}

#[test]
fn a_waker_outlives_its_task_and_its_shard_harmlessly() {
    on_both(|backend| {
        let kept: Arc<Mutex<Vec<Waker>>> = Arc::default();
        let keep = kept.clone();
        run(backend, move || {
            let keep = keep.clone();
            async move {
                let store = keep.clone();
                rt::spawn(async move {
                    poll_fn(|cx| {
                        store.lock().unwrap().push(cx.waker().clone());
                        Poll::Ready(())
                    })
                    .await;
                });
                rt::yield_now().await;
                keep.lock().unwrap()[0].wake_by_ref();
                let next = rt::spawn(rt::sleep_until(Tick::NEVER)); // in the same place
                keep.lock().unwrap()[0].wake_by_ref();
                rt::yield_now().await;
                assert!(!next.is_finished());
            }
        });
        std::thread::spawn(move || kept.lock().unwrap().drain(..).for_each(Waker::wake)).join().unwrap();
    });
}

#[derive(Default)]
struct Handed {
    waker: Option<Waker>,
    done: bool,
}

#[test]
fn two_thousand_wakes_by_other_threads_all_arrive() {
    on_both(|backend| {
        run(backend, || async {
            for _ in 0..40 {
                let handed: Arc<Mutex<Vec<Handed>>> = Arc::default();
                handed.lock().unwrap().extend((0..50).map(|_| Handed::default()));
                let threads: Vec<_> = (0..2)
                    .map(|half| {
                        let handed = handed.clone();
                        std::thread::spawn(move || {
                            for at in (half..50).step_by(2) {
                                let waker = {
                                    let mut all = handed.lock().unwrap();
                                    all[at].done = true;
                                    all[at].waker.take()
                                };
                                waker.into_iter().for_each(Waker::wake);
                                if at % 10 == half {
                                    std::thread::sleep(Duration::from_micros(100)); // lets the shard fall asleep
                                }
                            }
                        })
                    })
                    .collect();
                for at in 0..50 {
                    poll_fn(|cx| {
                        let mut all = handed.lock().unwrap();
                        all[at].waker = Some(cx.waker().clone());
                        if all[at].done { Poll::Ready(()) } else { Poll::Pending }
                    })
                    .await;
                }
                threads.into_iter().for_each(|thread| thread.join().unwrap());
            }
        });
    });
}

#[test]
fn a_mailbox_takes_messages_of_many_threads_in_each_ones_order_and_then_ends() {
    on_both(|backend| {
        run(backend, || async {
            let (sender, mut receiver) = Mailbox::new();
            for thread in 0..4usize {
                let sender = sender.clone();
                std::thread::spawn(move || (0..5000).for_each(|n| sender.send((thread, n)).unwrap()));
            }
            drop(sender);
            let mut next = [0; 4];
            while let Some((thread, n)) = receiver.recv().await {
                assert_eq!(n, next[thread]);
                next[thread] += 1;
            }
            assert_eq!(next, [5000; 4]);
            assert_eq!(receiver.try_recv(), None);

            let (sender, receiver) = Mailbox::with_limit(2);
            assert_eq!((sender.send(1), sender.send(2), sender.send(3)), (Ok(()), Ok(()), Err(3)));
            drop(receiver);
            assert!(sender.is_closed() && sender.send(4) == Err(4));
        });
    });
}

#[test]
fn a_mailbox_reaches_a_sleeping_shard_across_shards() {
    on_both(|backend| {
        let (to_first, at_first) = Mailbox::<u32>::new();
        let (to_second, at_second) = Mailbox::<u32>::new();
        let ends = Arc::new(Mutex::new(vec![Some((to_first, at_second)), Some((to_second, at_first))]));
        run_with(Shards { backend, count: 2, ..Shards::default() }, move || {
            let number = rt::shard().unwrap().index();
            let (sender, mut receiver) = ends.lock().unwrap()[1 - number].take().unwrap();
            async move {
                // number 0 sends first; then each answers with one more
                if number == 0 {
                    sender.send(0).unwrap();
                }
                while let Some(n) = receiver.recv().await {
                    if n >= 2000 || sender.send(n + 1).is_err() {
                        return;
                    }
                }
            }
        });
    });
}

#[test]
fn blocking_work_does_not_hold_the_shard_up() {
    on_both(|backend| {
        run(backend, || async {
            let (sender, receiver) = std::sync::mpsc::channel();
            let answers = Rc::new(Cell::new(0));
            let count = answers.clone();
            // ends only when the shard, which would have to be free for that, says so
            rt::spawn(async move { count.set(rt::blocking(move || receiver.recv().unwrap()).await) });
            rt::yield_now().await;
            assert_eq!(answers.get(), 0);
            sender.send(7).unwrap();
            until("the answer", || answers.get() == 7).await;
            for n in 0..2000 {
                if n % 100 == 0 {
                    assert_eq!(rt::blocking(move || n + 1).await, n + 1);
                }
                let _ = rt::within(rt::now(), rt::blocking(move || n)).await; // nobody waits for it
            }
        });
    });
}

#[test]
fn a_panic_ends_the_shard_and_join_says_so() {
    on_both(|backend| {
        let shards = Shards { backend, count: 2, ..Shards::default() };
        let running = rt::start_shards(shards, |id| async move {
            let (_theirs, mut ours) = pair();
            ours.send(vec![1; 20_000_000]).await.unwrap(); // blocked: the kernel holds memory of ours
            rt::spawn(async move { drop(ours.recv(Tick::NEVER).await) });
            rt::sleep_until(rt::now() + Duration::from_millis(5)).await;
            assert!(id.index() != 1, "on purpose");
            rt::sleep_until(Tick::NEVER).await;
        });
        let error = running.unwrap().join().unwrap_err();
        assert!(error.to_string().contains("on purpose"), "{error}");
    });
}
