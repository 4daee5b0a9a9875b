//! Cases under their own names, printed and filtered as `cargo test` does it, for test targets with `harness = false`.
//!
//! Cases come in groups. The cases of a group run in order on one thread (they share processes), groups run in parallel.
//! A group whose cases are all filtered out is never opened.

use std::any::Any;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::panic::{self, AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

/// What became of a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// As it should be.
    Passed,
    /// Not as it should be, and why.
    Failed(String),
    /// Not run, and why.
    Ignored(String),
}

/// Cases that share something.
pub trait Group: Send {
    /// The names of the cases, in order.
    fn cases(&self) -> Vec<String>;
    /// Runs those cases, each once, and tells the outcome of each as it is known.
    fn run(self: Box<Self>, chosen: &[String], tell: &mut dyn FnMut(&str, Outcome));
}

struct Options {
    filters: Vec<String>,
    skips: Vec<String>,
    exact: bool,
    list: bool,
    ignored_only: bool,
    threads: usize,
}

impl Options {
    fn from_arguments(threads: usize) -> Options {
        let mut options = Options {
            filters: Vec::new(),
            skips: Vec::new(),
            exact: false,
            list: false,
            ignored_only: false,
            threads,
        };
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            match word.as_str() {
                "--exact" => options.exact = true,
                "--list" => options.list = true,
                "--ignored" => options.ignored_only = true,
                "--skip" => options.skips.extend(words.next()),
                "--test-threads" => {
                    options.threads = words.next().and_then(|n| n.parse().ok()).unwrap_or(threads)
                }
                "--format" | "--color" | "-Z" => drop(words.next()),
                flag if flag.starts_with("--test-threads=") => {
                    options.threads =
                        flag.split_once('=').and_then(|(_, n)| n.parse().ok()).unwrap_or(threads);
                }
                flag if flag.starts_with('-') => (),
                filter => options.filters.push(filter.to_owned()),
            }
        }
        options
    }

    fn chooses(&self, name: &str) -> bool {
        let says = |filter: &String| if self.exact { name == filter } else { name.contains(filter.as_str()) };
        let wanted = self.filters.is_empty() || self.filters.iter().any(says);
        wanted && !self.skips.iter().any(says)
    }
}

#[derive(Default)]
struct Tally {
    passed: usize,
    ignored: usize,
    failures: Vec<(String, String)>,
    times: Vec<(Duration, String)>,
}

/// Runs the groups, at most `threads` at once unless the arguments say otherwise; the exit code of the test program.
pub fn run(groups: Vec<Box<dyn Group>>, threads: usize) -> ExitCode {
    let options = Options::from_arguments(threads);
    let mut filtered = 0;
    let mut chosen = VecDeque::new();
    for group in groups {
        let all = group.cases();
        let cases: Vec<String> =
            all.iter().filter(|c| options.chooses(c) && !options.ignored_only).cloned().collect();
        filtered += all.len() - cases.len();
        if !cases.is_empty() {
            chosen.push_back((group, cases));
        }
    }
    if options.list {
        chosen.iter().flat_map(|(_, cases)| cases).for_each(|name| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    keep_panics();
    let begun = Instant::now();
    println!("\nrunning {} tests", chosen.iter().map(|(_, cases)| cases.len()).sum::<usize>());
    let tally = run_chosen(chosen, options.threads.max(1));
    report(&tally, filtered, begun)
}

fn run_chosen(chosen: VecDeque<(Box<dyn Group>, Vec<String>)>, threads: usize) -> Tally {
    let queue = Mutex::new(chosen);
    let tally = Mutex::new(Tally::default());
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                // The lock is not held while a group runs.
                while let Some((group, cases)) = { queue.lock().expect("the queue").pop_front() } {
                    // A thread of its own, because a group may move its thread into a namespace.
                    let tally = &tally;
                    scope
                        .spawn(move || run_group(group, &cases, tally))
                        .join()
                        .expect("a group's panic is caught");
                }
            });
        }
    });
    tally.into_inner().expect("the tally")
}

fn run_group(group: Box<dyn Group>, cases: &[String], tally: &Mutex<Tally>) {
    let mut open: Vec<String> = cases.to_vec();
    let mut begun = Instant::now();
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        group.run(cases, &mut |name, outcome| {
            open.retain(|n| n != name);
            tally.lock().expect("the tally").times.push((begun.elapsed(), name.to_owned()));
            begun = Instant::now();
            note(tally, name, outcome);
        });
    }));
    let why = match outcome {
        Ok(()) => "the group ended without this case".to_owned(),
        Err(panic) => format!("the group broke: {}", message(panic.as_ref())),
    };
    open.iter().for_each(|name| note(tally, name, Outcome::Failed(why.clone())));
}

thread_local! {
    /// What the thread's last panic said, with its place.
    static LAST_PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Keeps panics for the report instead of printing each with its stack.
fn keep_panics() {
    panic::set_hook(Box::new(|info| LAST_PANIC.set(Some(info.to_string()))));
}

/// A panic's message, with its place where it came from this thread.
pub fn message(panic: &(dyn Any + Send)) -> String {
    if let Some(kept) = LAST_PANIC.take() {
        return kept;
    }
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()))
        .unwrap_or_else(|| "a panic".to_owned())
}

fn note(tally: &Mutex<Tally>, name: &str, outcome: Outcome) {
    let mut tally = tally.lock().expect("the tally");
    match outcome {
        Outcome::Passed => {
            println!("test {name} ... ok");
            tally.passed += 1;
        }
        Outcome::Ignored(why) => {
            println!("test {name} ... ignored, {why}");
            tally.ignored += 1;
        }
        Outcome::Failed(why) => {
            println!("test {name} ... FAILED");
            tally.failures.push((name.to_owned(), why));
        }
    }
}

/// Where the time went, for whoever wants a faster run.
fn slowest(tally: &Tally) {
    let mut times: Vec<_> = tally.times.iter().collect();
    times.sort_by_key(|(time, _)| std::cmp::Reverse(*time));
    let shown: Vec<String> =
        times.iter().take(5).map(|(t, name)| format!("{name} {:.1}s", t.as_secs_f64())).collect();
    println!("\nslowest: {}", shown.join(", "));
}

fn report(tally: &Tally, filtered: usize, begun: Instant) -> ExitCode {
    let failed = tally.failures.len();
    if failed > 0 {
        println!("\nfailures:\n");
        tally.failures.iter().for_each(|(name, why)| println!("---- {name} ----\n{why}\n"));
        println!("failures:");
        tally.failures.iter().for_each(|(name, _)| println!("    {name}"));
    }
    slowest(tally);
    let word = if failed == 0 { "ok" } else { "FAILED" };
    println!(
        "\ntest result: {word}. {} passed; {failed} failed; {} ignored; 0 measured; {filtered} filtered out; finished in {:.2}s\n",
        tally.passed,
        tally.ignored,
        begun.elapsed().as_secs_f64()
    );
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::from(101) }
}
