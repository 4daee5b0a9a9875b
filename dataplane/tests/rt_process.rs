//! What concerns a whole process, in children: descriptors, signals; on both backends.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // tests fail by panicking

mod rt_common;

use dataplane::rt::{self, Backend, BackendChoice, Listener, Mailbox, Shards, Terminate, Tick};
use rt_common::{join, loopback, on_both, pair, run, soon};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

#[test]
fn fifty_sets_of_shards_one_after_the_other_leave_no_descriptor_open() {
    on_both(|backend| {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "in_a_process_of_its_own", "--nocapture"])
            .env("RT_TEST", if backend == Backend::Completion { "fds-completion" } else { "fds-readiness" })
            .status()
            .unwrap();
        assert!(child.success(), "{backend}");
    });
}

/// Runs in a child process: signals and descriptors belong to a whole process.
#[test]
fn in_a_process_of_its_own() {
    match std::env::var("RT_TEST").as_deref() {
        Ok("fds-completion") => count_descriptors(BackendChoice::Completion),
        Ok("fds-readiness") => count_descriptors(BackendChoice::Readiness),
        Ok("files-completion") => run_out_of_descriptors(BackendChoice::Completion),
        Ok("files-readiness") => run_out_of_descriptors(BackendChoice::Readiness),
        Ok("signals-completion") => report_signals(BackendChoice::Completion),
        Ok("signals-readiness") => report_signals(BackendChoice::Readiness),
        other => assert!(other.is_err(), "what is {other:?}?"), // in the parent there is nothing to do
    }
}

/// What every open descriptor of this process is.
fn descriptors() -> Vec<String> {
    let links = |entry: std::fs::DirEntry| std::fs::read_link(entry.path());
    let all = std::fs::read_dir("/proc/self/fd").unwrap().flatten().flat_map(links);
    all.map(|path| path.to_string_lossy().into_owned()).collect()
}

fn count_descriptors(choice: BackendChoice) {
    let backend = rt::preflight(choice).unwrap();
    // glommio 0.9.0 keeps the eventfd of every executor that has ended, one a shard
    let ours = |link: &String| backend != Backend::Completion || !link.contains("eventfd");
    let open = || descriptors().into_iter().filter(ours).count();
    let mut before = 0;
    for round in 0..50 {
        run(backend.clone(), || async {
            let (_theirs, mut ours) = pair();
            assert!(ours.recv(rt::now() + Duration::from_millis(1)).await.is_err());
        });
        if round == 5 {
            before = open();
        }
    }
    for _ in 0..200 {
        if open() <= before {
            return;
        }
        std::thread::sleep(Duration::from_millis(10)); // threads of the last round still end
    }
    panic!("{before} descriptors after 5 rounds, then {:?}", descriptors());
}

fn run_out_of_descriptors(choice: BackendChoice) {
    let limit = |files: u64| {
        let limit = libc::rlimit { rlim_cur: files, rlim_max: 4096 };
        // SAFETY: the pointer is to a live variable of the right type.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }, 0);
    };
    run(rt::preflight(choice).unwrap(), move || async move {
        let listener = Listener::bind(&loopback()).unwrap();
        let address = listener.local().unwrap();
        let mut client = rt::connect(&address, soon()).await.unwrap();
        limit(3); // below what is open
        for _ in 0..3 {
            let error = listener.accept().await.unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
        }
        limit(4096);
        let mut stream = listener.accept().await.unwrap().here().unwrap();
        stream.send("nothing was lost").await.unwrap();
        assert_eq!(rt_common::take(&mut client, 16).await, b"nothing was lost");
    });
}

#[test]
fn without_descriptors_accepting_is_an_error_and_goes_on_when_there_are_some() {
    on_both(|backend| {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "in_a_process_of_its_own", "--nocapture"])
            .env(
                "RT_TEST",
                if backend == Backend::Completion { "files-completion" } else { "files-readiness" },
            )
            .status()
            .unwrap();
        assert!(child.success(), "{backend}");
    });
}

fn report_signals(choice: BackendChoice) {
    let backend = rt::preflight(choice).unwrap();
    let shards = Shards { backend: backend.clone(), count: 2, ..Shards::default() };
    let running = rt::start_shards(shards, |id| async move {
        if id.index() == 1 {
            return rt::sleep_until(Tick::NEVER).await;
        }
        let (sender, mut receiver) = Mailbox::new();
        rt::on_terminate(sender).unwrap();
        println!("ready");
        for _ in 0..3 {
            println!("got {:?}", receiver.recv().await.unwrap());
        }
        rt::stop();
    })
    .unwrap();
    join(running, &backend);
    println!("ended");
}

#[test]
fn each_termination_signal_is_one_message() {
    assert_ne!(Terminate::Term, Terminate::Interrupt);
    on_both(|backend| {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "in_a_process_of_its_own", "--nocapture"])
            .env(
                "RT_TEST",
                if backend == Backend::Completion { "signals-completion" } else { "signals-readiness" },
            )
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        assert!(lines.any(|line| line.ends_with("ready")));
        let pid = child.id() as libc::pid_t;
        for (signal, name) in [(libc::SIGTERM, "Term"), (libc::SIGINT, "Interrupt"), (libc::SIGTERM, "Term")]
        {
            std::thread::sleep(Duration::from_millis(10)); // the shards sleep by then
            // SAFETY: no memory is passed, and the process is our own child.
            assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
            assert_eq!(lines.next().unwrap(), format!("got {name}"));
        }
        assert_eq!(lines.next().unwrap(), "ended");
        assert_ne!(lines.count(), 0, "the harness says how it ended");
        assert!(child.wait().unwrap().success());
    });
}
