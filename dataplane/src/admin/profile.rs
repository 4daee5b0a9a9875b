//! `--enable-profiling`: the paths of Go's pprof, with what there is of it in a process that is not Go. What only Go's runtime
//! could tell is answered 501 with what to do instead.

use super::ask::Ask;
use super::own::Own;
use super::route::{Route, not_found};
use crate::shard::Common;
use proto::http1::head::Request;
use proto::invoke::target::Path;
use std::fmt::Write;
use std::process;

/// Where everything stands.
const ROOT: &str = "/debug/pprof";

/// What there is, and what it shows.
const PAGES: [(&str, &str); 3] = [
    ("cmdline", "the command line of the data plane, its arguments separated by zero bytes"),
    ("shards", "tasks, sockets and buffers of each shard, and what is in flight"),
    ("threads", "each thread with its CPU time"),
];

/// Go's profiles that do not exist here, and what stands in for them.
const GO_ONLY: [(&str, &str); 9] = [
    ("allocs", "allocations are not sampled; bench/README.md lists those of a call"),
    ("block", "shards never block; see threads"),
    ("goroutine", "there are no goroutines; see shards for tasks"),
    ("heap", "the heap is not sampled; `outrigger status` shows memory, shards shows buffers"),
    ("mutex", "waiting for locks is not measured; see threads for CPU time"),
    ("profile", PERF),
    ("symbol", "addresses are resolved by perf"),
    ("threadcreate", "see threads"),
    ("trace", "run with --trace-steps, or use perf"),
];

const PERF: &str = "CPU time is sampled from outside";

/// Where a request on the profiling port leads.
pub(super) fn route<'r>(request: &Request<'_, 'r>, path: &Path<'r>) -> Route<'r> {
    let Some(name) = path.raw.strip_prefix(ROOT) else { return Route::Answer(not_found()) };
    if !matches!(request.method, "GET" | "HEAD") {
        let refused = Own::text(405, "Method Not Allowed\n");
        return Route::Answer(Own { lines: vec![("Allow", b"GET, HEAD")], ..refused });
    }
    match name {
        "" => Route::Answer(Own { lines: vec![("Location", b"/debug/pprof/")], ..Own::empty(307) }),
        "/" => Route::Answer(index()),
        "/cmdline" => Route::Answer(Own::text(200, command_line())),
        "/shards" => Route::Ask(Ask::Figures(shards)),
        "/threads" => Route::Ask(Ask::Figures(|_| threads())),
        _ => Route::Answer(other(name)),
    }
}

fn other(name: &str) -> Own<'static> {
    let missing = GO_ONLY.iter().find(|(known, _)| name.strip_prefix('/') == Some(known));
    match missing {
        Some((name, instead)) => {
            let text =
                format!("{name} is a profile of Go's runtime, which this is not: {instead}\n{}", how());
            Own::text(501, text)
        }
        None => {
            let unknown = Own::text(404, "Unknown profile\n");
            Own { lines: vec![("X-Content-Type-Options", b"nosniff"), ("X-Go-Pprof", b"1")], ..unknown }
        }
    }
}

/// How to see where time goes.
fn how() -> String {
    let id = process::id();
    format!(
        "To see where CPU time goes: perf record -F 99 -g -p {id} -- sleep 10 && perf report\n\
         As pprof reads it: perf record as above, then pprof -http=: perf.data\n"
    )
}

fn index() -> Own<'static> {
    let mut page = String::from(
        "<html>\n<head>\n<title>/debug/pprof/</title>\n</head>\n<body>\n/debug/pprof/\n<br>\n<table>\n",
    );
    for (name, what) in PAGES {
        let _ = writeln!(page, "<tr><td><a href='{name}'>{name}</a></td><td>{what}</td></tr>"); // cannot fail
    }
    page.push_str("</table>\n<p>Not here, because they are of Go's runtime:</p>\n<ul>\n");
    for (name, instead) in GO_ONLY {
        let _ = writeln!(page, "<li>{name}: {instead}</li>"); // cannot fail
    }
    let _ = writeln!(page, "</ul>\n<pre>{}</pre>\n</body>\n</html>", how().replace('&', "&amp;")); // cannot fail
    Own {
        status: 200,
        content_type: "text/html; charset=utf-8",
        body: page.into_bytes(),
        lines: vec![("X-Content-Type-Options", b"nosniff")],
        ..Own::default()
    }
}

fn command_line() -> Vec<u8> {
    let mut line = std::fs::read("/proc/self/cmdline").unwrap_or_default();
    if line.last() == Some(&0) {
        line.pop();
    }
    line
}

/// A line for each shard, and the levels of all.
fn shards(common: &Common) -> String {
    let mut text = String::from(
        "shard  tasks  sockets  buffers free  buffers borrowed  turns  receives without buffer  short sends\n",
    );
    for figures in common.figures() {
        let counts = figures.counts;
        let _ = writeln!(
            text,
            "{:>5}  {:>5}  {:>7}  {:>12}  {:>16}  {:>5}  {:>23}  {:>11}",
            figures.shard,
            figures.tasks,
            counts.sockets,
            counts.buffers_free,
            counts.buffers_extra,
            counts.turns,
            counts.starved,
            counts.short_sends
        ); // cannot fail
    }
    text.push('\n');
    for count in common.registry.collect("").counts {
        let _ = writeln!(text, "{} {}", count.name, count.value); // cannot fail
    }
    text
}

/// A line for each thread of this process.
fn threads() -> String {
    let mut text = String::from("thread  user s  system s  state  name\n");
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let mut lines: Vec<String> = tasks.filter_map(|task| thread(&task.path())).collect();
    lines.sort();
    text.extend(lines);
    text
}

/// Ticks of the kernel's accounting a second (`USER_HZ`).
const HZ: f64 = 100.0;

fn thread(folder: &std::path::Path) -> Option<String> {
    let stat = std::fs::read_to_string(folder.join("stat")).ok()?;
    let (begin, rest) = stat.rsplit_once(')')?;
    let (id, name) = begin.split_once(" (")?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let seconds = |at: usize| Some(fields.get(at)?.parse::<f64>().ok()? / HZ);
    Some(format!("{id:>6}  {:>6.2}  {:>8.2}  {:>5}  {name}\n", seconds(11)?, seconds(12)?, fields.first()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_thread_has_a_line_with_its_name() {
        let named = std::thread::Builder::new().name("a thread (1)".into());
        let (here, begun) = std::sync::mpsc::channel::<()>();
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let running = named.spawn(move || here.send(()).is_ok() && wait.recv().is_err()).unwrap();
        begun.recv().unwrap(); // a thread names itself
        let text = threads();
        drop(go);
        assert!(running.join().unwrap());
        assert!(text.lines().any(|line| line.ends_with("  a thread (1)")), "{text}");
    }

    #[test]
    fn what_is_gos_alone_is_said_with_what_to_do_and_what_is_unknown_is_unknown() {
        let own = other("/profile");
        let text = String::from_utf8(own.body).unwrap();
        assert_eq!(own.status, 501);
        assert!(text.contains(&format!("perf record -F 99 -g -p {}", process::id())), "{text}");
        assert_eq!(other("/nope").status, 404);
    }
}
