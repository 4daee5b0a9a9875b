//! Which backend is chosen, and what it says where io_uring is refused. What a process forbids itself it forbids for
//! good, so each case runs in a child.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // tests fail by panicking

mod rt_common;

use dataplane::rt::{self, Backend, BackendChoice, Shards};
use rt_common::{pair, run, take};
use std::io::Write;
use std::process::Command;

/// Numbers of the system calls, the same on every 64-bit architecture.
const SETUP: u32 = 425;
const ENTER: u32 = 426;
const REGISTER: u32 = 427;

#[test]
fn a_choice_is_read_and_readiness_can_be_asked_for() {
    assert_eq!("auto".parse(), Ok(BackendChoice::Auto));
    assert_eq!("completion".parse(), Ok(BackendChoice::Completion));
    assert_eq!("readiness".parse(), Ok(BackendChoice::Readiness));
    assert!("epoll".parse::<BackendChoice>().unwrap_err().contains("epoll"));
    let backend = rt::preflight(BackendChoice::Readiness).unwrap();
    assert_eq!(backend.to_string(), "readiness (epoll): asked for");
}

#[test]
fn where_everything_is_allowed_completion_is_chosen() {
    match rt::preflight(BackendChoice::Completion) {
        Ok(backend) => {
            assert_eq!(backend, Backend::Completion);
            assert_eq!(rt::preflight(BackendChoice::Auto).unwrap(), Backend::Completion);
        }
        Err(reason) => eprintln!("SKIPPED: io_uring does not work here: {reason}"),
    }
}

fn in_a_child(case: &str) {
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "in_a_process_of_its_own", "--nocapture"])
        .env("RT_TEST", case)
        .status()
        .unwrap();
    assert!(status.success(), "{case}");
}

#[test]
fn a_seccomp_filter_that_refuses_setup_leads_to_readiness() {
    in_a_child("setup-eperm");
}

#[test]
fn a_seccomp_filter_that_hides_io_uring_leads_to_readiness() {
    in_a_child("setup-enosys");
}

#[test]
fn a_seccomp_filter_that_refuses_only_registering_leads_to_readiness() {
    in_a_child("register-eperm");
}

#[test]
fn a_seccomp_filter_that_refuses_only_entering_leads_to_readiness() {
    in_a_child("enter-eperm");
}

#[test]
fn a_small_limit_of_locked_memory_leads_to_readiness() {
    in_a_child("memlock");
}

/// Runs in a child process.
#[test]
fn in_a_process_of_its_own() {
    match std::env::var("RT_TEST").as_deref() {
        Ok("setup-eperm") => expect_readiness(|| refuse(SETUP, libc::EPERM), "seccomp"),
        Ok("setup-enosys") => expect_readiness(|| refuse(SETUP, libc::ENOSYS), "seccomp"),
        Ok("register-eperm") => expect_readiness(|| refuse(REGISTER, libc::EPERM), "seccomp"),
        Ok("enter-eperm") => expect_readiness(|| refuse(ENTER, libc::EPERM), "seccomp"),
        Ok("memlock") => expect_readiness(limit_locked_memory, "ulimit -l"),
        other => assert!(other.is_err(), "what is {other:?}?"), // in the parent there is nothing to do
    }
}

/// Takes something away; then the reason is one line that contains `remedy`, forcing completion is an error with the
/// same reason, glommio is not touched (it would panic), and readiness serves.
fn expect_readiness(take_away: impl FnOnce(), remedy: &str) {
    take_away();
    let backend = rt::preflight(BackendChoice::Auto).unwrap();
    let Backend::Readiness { reason } = &backend else { panic!("completion in spite of all") };
    assert!(reason.contains(remedy) && reason.lines().count() == 1, "{reason}");
    println!("{backend}");
    let forced = rt::preflight(BackendChoice::Completion).unwrap_err();
    assert_eq!(forced.to_string(), *reason);
    run(backend, || async {
        let (mut theirs, mut ours) = pair();
        theirs.write_all(b"served").unwrap();
        assert_eq!(take(&mut ours, 6).await, b"served");
    });
    // who starts it all the same gets an error, not a panic of the process
    let shards = Shards { backend: Backend::Completion, ..Shards::default() };
    assert!(rt::start_shards(shards, |_| async {}).is_err());
}

fn limit_locked_memory() {
    let limit = libc::rlimit { rlim_cur: 64 * 1024, rlim_max: 64 * 1024 };
    // SAFETY: the pointer is to a live variable of the right type.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const limit) }, 0);
}

/// Makes a system call fail with `error` in this process from now on, as container runtimes do.
fn refuse(call: u32, error: i32) {
    let statement = |code: u32, jt: u8, jf: u8, k: u32| libc::sock_filter { code: code as u16, jt, jf, k };
    let mut program = [
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0), // the number of the call
        statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, call),
        statement(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ERRNO | error as u32),
        statement(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // all threads, because the test harness has started this one after others
    let (operation, flags) = (libc::SECCOMP_SET_MODE_FILTER, libc::SECCOMP_FILTER_FLAG_TSYNC);
    // SAFETY: no memory is passed.
    assert_eq!(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }, 0);
    // SAFETY: the filter and its program live until the call returns; the kernel copies them.
    let result = unsafe { libc::syscall(libc::SYS_seccomp, operation, flags, &raw const filter) };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}
