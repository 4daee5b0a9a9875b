//! Work that would hold a shard up, on threads of its own.

use super::mailbox::Mailbox;
use super::{now, sleep_until};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Threads of the process that do blocking work; started when needed, ended after ten idle seconds.
const THREADS: usize = 2;
/// Jobs that wait for a thread; a caller beyond that waits until there is room.
const WAITING: usize = 1024;
const IDLE: Duration = Duration::from_secs(10);
const FULL_PAUSE: Duration = Duration::from_millis(1);

type Job = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct Crew {
    jobs: VecDeque<Job>,
    threads: usize,
    idle: usize,
}

static CREW: Mutex<Crew> = Mutex::new(Crew { jobs: VecDeque::new(), threads: 0, idle: 0 });
static WORK: Condvar = Condvar::new();

/// Runs `f` on another thread and waits for its result without holding the shard up. If the future is dropped, `f` runs
/// all the same and its result is dropped. A panic of `f` goes on in the caller.
///
/// # Panics
/// Outside of a shard, and where `f` does.
pub async fn blocking<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, mut receiver) = Mailbox::with_limit(1);
    let mut job: Job = Box::new(move || {
        let _ = sender.send(catch_unwind(AssertUnwindSafe(f))); // nobody waits any more: dropped
    });
    while let Err(back) = submit(job) {
        job = back;
        sleep_until(now() + FULL_PAUSE).await;
    }
    match receiver.recv().await {
        Some(Ok(result)) => result,
        Some(Err(panic)) => resume_unwind(panic),
        None => unreachable!("a job always sends its result before its sender is dropped"),
    }
}

fn submit(job: Job) -> Result<(), Job> {
    let mut crew = CREW.lock().unwrap_or_else(PoisonError::into_inner);
    if crew.jobs.len() >= WAITING {
        return Err(job);
    }
    crew.jobs.push_back(job);
    if crew.idle < crew.jobs.len() && crew.threads < THREADS {
        let started = std::thread::Builder::new().name("blocking".into()).spawn(serve);
        match started {
            Ok(_) => crew.threads += 1,
            // without any thread the job would wait for ever: run it here, late is better than never
            Err(_) if crew.threads == 0 => {
                let jobs = std::mem::take(&mut crew.jobs);
                drop(crew);
                jobs.into_iter().for_each(|job| job());
                return Ok(());
            }
            Err(_) => {}
        }
    }
    WORK.notify_one();
    Ok(())
}

fn serve() {
    let mut crew = CREW.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        if let Some(job) = crew.jobs.pop_front() {
            drop(crew);
            job();
            crew = CREW.lock().unwrap_or_else(PoisonError::into_inner);
            continue;
        }
        crew.idle += 1;
        let (guard, timeout) = WORK.wait_timeout(crew, IDLE).unwrap_or_else(PoisonError::into_inner);
        crew = guard;
        crew.idle -= 1;
        if timeout.timed_out() && crew.jobs.is_empty() {
            crew.threads -= 1;
            return;
        }
    }
}
