//! The seam's time, on both backends. Nothing here asserts how long something took at most, only the order of things and
//! that nothing comes early.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // tests fail by panicking

mod rt_common;

use dataplane::rt::{self, Address, RecvError, SendError, Tick};
use rt_common::{Lcg, on_both, pair, run, settled, soon, take, until};
use std::cell::{Cell, RefCell};
use std::io::{ErrorKind, Write};
use std::rc::Rc;
use std::time::Duration;

const MILLI: Duration = Duration::from_millis(1);

#[test]
fn sleepers_wake_in_the_order_of_their_times_and_never_early() {
    on_both(|backend| {
        run(backend, || async {
            let order: Rc<RefCell<Vec<Tick>>> = Rc::default();
            let start = rt::now();
            let mut random = Lcg(7);
            for _ in 0..2000 {
                let when = start + Duration::from_micros(random.below(150_000));
                let order = order.clone();
                rt::spawn(async move {
                    rt::sleep_until(when).await;
                    assert!(rt::now() >= when);
                    order.borrow_mut().push(when);
                });
            }
            until("all have woken", || order.borrow().len() == 2000).await;
            let order = order.borrow();
            assert!(order.windows(2).all(|two| two[0] <= two[1] + MILLI), "to the millisecond");
        });
    });
}

#[test]
fn a_moment_that_has_passed_is_not_waited_for() {
    on_both(|backend| {
        run(backend, || async {
            let turns = rt::counts().turns;
            rt::sleep_until(rt::now()).await;
            rt::sleep_until(Tick::from_micros(0)).await;
            assert_eq!(rt::within(rt::now(), std::future::ready(1)).await, Some(1));
            assert_eq!(rt::within(rt::now(), std::future::pending::<()>()).await, None);
            assert_eq!(rt::counts().turns, turns);
        });
    });
}

#[test]
fn the_clock_stands_still_within_a_turn_and_moves_on_between_turns() {
    on_both(|backend| {
        run(backend, || async {
            let now = rt::now();
            std::thread::sleep(2 * MILLI);
            assert_eq!(rt::now(), now);
            rt::sleep_until(now + MILLI).await;
            assert!(rt::now() - now >= 2 * MILLI);
        });
        let one = rt::now();
        std::thread::sleep(MILLI);
        assert!(rt::now() >= one + MILLI, "outside of shards it is the clock itself");
    });
}

#[test]
fn a_receive_gives_up_at_its_deadline_and_the_connection_can_be_used_on() {
    on_both(|backend| {
        run(backend, || async {
            let (mut theirs, mut ours) = pair();
            for round in 0..5 {
                let by = rt::now() + 5 * MILLI;
                assert!(matches!(ours.recv(by).await, Err(RecvError::Deadline)));
                assert!(rt::now() >= by);
                theirs.write_all(&[round; 10]).unwrap();
                assert_eq!(take(&mut ours, 10).await, [round; 10]);
            }
        });
    });
}

#[test]
fn deadlines_may_move_both_ways_and_only_the_last_counts() {
    on_both(|backend| {
        run(backend, || async {
            let (mut theirs, ours) = pair();
            let mut ours = ours;
            // later than the entry in the wheel: it fires early, finds nothing due, and is placed again
            for _ in 0..20 {
                let early = rt::within(rt::now() + MILLI, ours.recv(rt::now() + 3 * MILLI)).await;
                assert!(early.is_none_or(|r| matches!(r, Err(RecvError::Deadline))));
            }
            let late = rt::now() + 30 * MILLI;
            assert!(matches!(ours.recv(late).await, Err(RecvError::Deadline)));
            assert!(rt::now() >= late);
            // earlier than the entry: it is moved up
            drop(rt::within(rt::now() + MILLI, ours.recv(rt::now() + Duration::from_secs(3600))).await);
            let by = rt::now() + 5 * MILLI;
            assert!(matches!(ours.recv(by).await, Err(RecvError::Deadline)));
            // none at all after a short one
            drop(rt::within(rt::now() + MILLI, ours.recv(rt::now() + 2 * MILLI)).await);
            let reader = rt::spawn(async move {
                assert_eq!(&*ours.recv(Tick::NEVER).await.unwrap().unwrap(), b"in the end");
            });
            rt::sleep_until(rt::now() + 10 * MILLI).await;
            assert!(!reader.is_finished());
            theirs.write_all(b"in the end").unwrap();
            until("received", || reader.is_finished()).await;
        });
    });
}

#[test]
fn a_connect_gives_up_at_its_deadline_and_leaves_nothing_behind() {
    on_both(|backend| {
        run(backend, || async {
            // a listener that accepts nobody: what exceeds its backlog gets no answer
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let fd = std::os::fd::AsRawFd::as_raw_fd(&listener);
            // SAFETY: no memory is passed.
            assert_eq!(unsafe { libc::listen(fd, 0) }, 0);
            let address = Address::Tcp(listener.local_addr().unwrap());
            let mut connected = Vec::new();
            let error = loop {
                match rt::connect(&address, rt::now() + 30 * MILLI).await {
                    Ok(stream) => connected.push(stream),
                    Err(error) => break error,
                }
                assert!(connected.len() < 100, "the backlog is one");
            };
            assert_eq!(error.kind(), ErrorKind::TimedOut);
            until("the failed one is gone", || rt::counts().sockets == connected.len()).await;
            let waiting = rt::spawn(async move { drop(rt::connect(&address, soon()).await) });
            rt::sleep_until(rt::now() + 2 * MILLI).await;
            waiting.cancel();
            until("the cancelled one is gone", || rt::counts().sockets == connected.len()).await;
            drop(connected);
            settled(128, 0).await;
        });
    });
}

#[test]
fn what_was_cut_off_by_a_deadline_was_dropped() {
    on_both(|backend| {
        run(backend, || async {
            let alive = Rc::new(());
            let held = alive.clone();
            let cut = rt::within(rt::now() + 2 * MILLI, async move {
                let _held = held;
                rt::sleep_until(Tick::NEVER).await;
            });
            assert!(cut.await.is_none());
            assert_eq!(Rc::strong_count(&alive), 1);
            let (_theirs, mut ours) = pair();
            ours.send(vec![0; 20_000_000]).await.unwrap();
            let by = rt::now() + 5 * MILLI;
            assert!(matches!(ours.sent(by).await, Err(SendError::Deadline)));
            ours.abort();
        });
    });
}

#[test]
fn ten_thousand_sleepers_that_are_dropped_leave_no_timer_behind() {
    on_both(|backend| {
        run(backend, || async {
            let tasks: Vec<_> =
                (0..10_000).map(|n| rt::spawn(rt::sleep_until(rt::now() + (20 + n % 50) * MILLI))).collect();
            rt::yield_now().await;
            tasks.into_iter().for_each(rt::Task::cancel);
            rt::sleep_until(rt::now() + 5 * MILLI).await;
            let turns = rt::counts().turns;
            rt::sleep_until(rt::now() + 100 * MILLI).await;
            let woken = rt::counts().turns - turns;
            assert!(woken <= 6, "one timer ends this sleep, and steps of the wheel: {woken}");
        });
    });
}

#[test]
fn an_idle_shard_makes_no_system_call() {
    on_both(|backend| {
        let (sender, mut commands) = rt::Mailbox::<()>::new();
        let (to_us, from_shard) = std::sync::mpsc::channel();
        let sender = Cell::new(Some(sender));
        let commands = std::sync::Mutex::new(Some(std::mem::replace(&mut commands, rt::Mailbox::new().1)));
        let commands = std::sync::Arc::new(commands);
        let shards = rt::Shards { backend: backend.clone(), ..rt::Shards::default() };
        let running = rt::start_shards(shards, move |_| {
            let (commands, to_us) = (commands.clone(), to_us.clone());
            async move {
                let (_theirs, mut idle) = pair();
                rt::spawn(async move { drop(idle.recv(rt::now() + Duration::from_secs(60)).await) });
                let mut commands = commands.lock().unwrap().take().unwrap();
                // SAFETY: no memory is passed.
                to_us.send(unsafe { libc::gettid() }).unwrap();
                while commands.recv().await.is_some() {
                    to_us.send(rt::counts().turns as i32).unwrap();
                }
            }
        })
        .unwrap();
        let thread = from_shard.recv().unwrap();
        let switches = || {
            let status = std::fs::read_to_string(format!("/proc/self/task/{thread}/status")).unwrap();
            let line = status.lines().find(|line| line.starts_with("voluntary_ctxt_switches")).unwrap();
            line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
        };
        let sender = sender.take().unwrap();
        sender.send(()).unwrap();
        let turns = from_shard.recv().unwrap();
        std::thread::sleep(20 * MILLI);
        let before = switches();
        std::thread::sleep(400 * MILLI);
        assert_eq!(switches(), before, "{backend}: the shard slept all the time");
        sender.send(()).unwrap();
        let woken = from_shard.recv().unwrap() - turns;
        assert!(woken <= 3, "{backend}: {woken} turns");
        drop(sender);
        rt_common::join(running, &backend);
    });
}
