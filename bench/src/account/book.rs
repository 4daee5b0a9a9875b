//! Which item a sample belongs to.

use super::frames::{Files, Frames};
use std::collections::BTreeSet;

/// The rows of the account.
pub(super) const ITEMS: [&str; 17] = [
    "kernel: send, with delivery over loopback",
    "kernel: receive",
    "kernel: wait, wake, schedule",
    "kernel: entry, ring, the rest",
    "HTTP/1: heads and bodies",
    "names and headers between HTTP and the message",
    "envelope and gRPC frames",
    "HTTP/2, mesh connections",
    "TLS: records",
    "TLS: AES-GCM",
    "executor, ring, sockets",
    "policy and telemetry",
    "the two stories (proxy, admin, app)",
    "allocator",
    "memory copied and compared",
    "clock",
    "standard library, and what is not resolved",
];

const REST_OF_KERNEL: usize = 3;
const ALLOCATOR: usize = 13;
const MEMORY: usize = 14;
const CLOCK: usize = 15;
const UNRESOLVED: usize = 16;

/// Functions of the kernel that say what it was asked for: whoever of them stands innermost among the callers decides.
const KERNEL: [(&str, usize); 15] = [
    ("io_send", 0),
    ("io_sendmsg", 0),
    ("sock_sendmsg", 0),
    ("__sys_sendmsg", 0),
    ("tcp_sendmsg", 0),
    ("io_recv", 1),
    ("io_poll_task_func", 1),
    ("sock_recvmsg", 1),
    ("__sys_recvfrom", 1),
    ("schedule", 2),
    ("io_cqring_wait", 2),
    ("ep_poll", 2),
    ("exit_to_user_mode_loop", 2),
    ("ret_from_fork", 2),
    ("schedule_tail", 2),
];

/// Parts of source paths. The first that fits decides.
const SOURCES: [(&str, usize); 24] = [
    ("proto/src/http1/", 4),
    ("dataplane/src/http1/", 4),
    ("/httparse", 4),
    ("proto/src/invoke/", 5),
    ("proto/src/name.rs", 5),
    ("proto/src/envelope/", 6),
    ("proto/src/grpc/", 6),
    ("proto/src/http2/", 7),
    ("dataplane/src/mesh/", 7),
    ("/ring-", 9),
    ("/ring_core", 9),
    ("dataplane/src/tls/", 8),
    ("/rustls", 8),
    ("dataplane/src/rt/", 10),
    ("/glommio", 10),
    ("/io-uring", 10),
    ("proto/src/policy/", 11),
    ("proto/src/trace", 11),
    ("proto/src/balance/", 11),
    ("proto/src/spiffe", 11),
    ("dataplane/src/metrics/", 11),
    ("dataplane/src/log.rs", 11),
    ("dataplane/src/", 12),
    ("proto/src/", 12),
];

/// One frame of a sample.
#[derive(Clone, Copy)]
struct Frame<'a> {
    address: u64,
    symbol: &'a str,
    object: &'a str,
}

/// Samples by item.
pub(super) struct Book {
    counts: [u64; ITEMS.len()],
    /// What kept samples from being booked.
    pub(super) missing: Vec<String>,
}

impl Book {
    /// Books what `perf script` wrote.
    pub(super) fn of(text: &str, frames: &Frames) -> Book {
        let samples: Vec<Vec<Frame<'_>>> =
            text.split("\n\n").map(|sample| sample.lines().filter_map(frame).collect()).collect();
        let innermost = samples.iter().filter_map(|sample| sample.first());
        let ours: BTreeSet<u64> = innermost.filter(|f| frames.is(f.object)).map(|f| f.address).collect();
        let mut missing = Vec::new();
        let files = frames.files(&ours).unwrap_or_else(|what| {
            missing.push(what);
            Files::new()
        });
        let mut counts = [0; ITEMS.len()];
        for sample in samples.iter().filter(|sample| !sample.is_empty()) {
            if let Some(count) = counts.get_mut(item(sample, &files)) {
                *count += 1;
            }
        }
        let mut book = Book { counts, missing };
        book.judge();
        book
    }

    /// The share of an item.
    pub(super) fn share(&self, item: usize) -> f64 {
        let all = self.counts.iter().sum::<u64>().max(1);
        self.counts.get(item).copied().unwrap_or(0) as f64 / all as f64
    }

    fn judge(&mut self) {
        let all: u64 = self.counts.iter().sum();
        if all < 1000 {
            self.missing.push(format!("{all} samples only: shares are rough"));
        }
        if self.share(UNRESOLVED) > 0.1 {
            let percent = self.share(UNRESOLVED) * 100.0;
            self.missing.push(format!(
                "{percent:.0} % of the samples belong to no known source: is the executable built with its line tables?"
            ));
        }
    }
}

/// `ADDRESS SYMBOL (OBJECT)`.
fn frame(line: &str) -> Option<Frame<'_>> {
    let (address, rest) = line.trim().split_once(' ')?;
    let (symbol, object) = rest.rsplit_once(" (")?;
    Some(Frame {
        address: u64::from_str_radix(address, 16).ok()?,
        symbol,
        object: object.trim_end_matches(')'),
    })
}

fn item(sample: &[Frame<'_>], files: &Files) -> usize {
    let Some(first) = sample.first() else { return UNRESOLVED };
    if first.object.starts_with("[kernel") || first.address >= 1 << 63 {
        return kernel(sample);
    }
    match first.object {
        "[vdso]" => CLOCK,
        object if object.contains("libc") => libc(first.symbol),
        _ => source(first, files),
    }
}

fn kernel(sample: &[Frame<'_>]) -> usize {
    let known =
        |frame: &Frame<'_>| KERNEL.iter().find(|(name, _)| *name == frame.symbol).map(|(_, item)| *item);
    // whatever is delivered over loopback was sent by whoever stands further out
    let inside = sample.iter().filter(|frame| frame.object.starts_with("[kernel"));
    let booked: Vec<usize> = inside.filter_map(known).collect();
    let sent = booked.iter().find(|item| **item == 0);
    sent.or(booked.first()).copied().unwrap_or(REST_OF_KERNEL)
}

fn libc(symbol: &str) -> usize {
    let is = |parts: &[&str]| parts.iter().any(|part| symbol.contains(part));
    match symbol {
        _ if is(&["mem"]) && !is(&["memalign"]) => MEMORY,
        _ if is(&["alloc", "free", "chunk", "consolidate", "tcache"]) => ALLOCATOR,
        _ if is(&["clock", "time"]) => CLOCK,
        _ if is(&["syscall", "epoll", "send", "recv"]) => REST_OF_KERNEL,
        _ => UNRESOLVED,
    }
}

fn source(frame: &Frame<'_>, files: &Files) -> usize {
    let known = |path: &String| SOURCES.iter().find(|(part, _)| path.contains(part)).map(|(_, item)| *item);
    let by_file = files.get(&frame.address).and_then(|files| files.iter().find_map(known));
    by_file.or_else(|| known(&path_of(frame.symbol))).unwrap_or(UNRESOLVED)
}

/// Where a function stands, as its name tells: `proto::http2::x` is in `proto/src/http2/`.
fn path_of(symbol: &str) -> String {
    let path = symbol.trim_start_matches('<').replacen("::", "/src/", 1).replace("::", "/");
    if path.starts_with("ring") { format!("/ring-/{path}") } else { format!("/{path}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn booked(sample: &str, files: &[(u64, &[&str])]) -> &'static str {
        let frames: Vec<Frame<'_>> = sample.lines().filter_map(frame).collect();
        let files =
            files.iter().map(|(at, all)| (*at, all.iter().map(|f| (*f).to_owned()).collect())).collect();
        ITEMS[item(&frames, &files)]
    }

    #[test]
    fn the_kernel_is_booked_by_what_it_was_asked_for() {
        let sent = "ffffffff81 tcp_ack ([kernel.kallsyms])\nffffffff82 tcp_v4_rcv ([kernel.kallsyms])\nffffffff83 io_send ([kernel.kallsyms])\n1829 syscall (/lib/libc.so.6)";
        assert_eq!(booked(sent, &[]), "kernel: send, with delivery over loopback");
        let slept =
            "ffffffff81 finish_task_switch ([kernel.kallsyms])\nffffffff82 schedule ([kernel.kallsyms])";
        assert_eq!(booked(slept, &[]), "kernel: wait, wake, schedule");
        assert_eq!(
            booked("ffffffff81 io_submit_sqes ([kernel.kallsyms])", &[]),
            "kernel: entry, ring, the rest"
        );
    }

    #[test]
    fn our_own_code_is_booked_by_the_innermost_file_that_is_ours() {
        let files: [(u64, &[&str]); 1] = [(
            0x45,
            &["/rust/core/ptr.rs:1", "/w/proto/src/http2/flow.rs:7", "/w/dataplane/src/proxy/own.rs:1"],
        )];
        assert_eq!(booked("45 dataplane::proxy::x (/bin/outrigger)", &files), "HTTP/2, mesh connections");
        assert_eq!(booked("47 ring_core_0_17_14__aes_hw (/bin/outrigger)", &files), "TLS: AES-GCM");
        assert_eq!(
            booked("47 <proto::envelope::Entries as core::X>::next (/bin/outrigger)", &files),
            "envelope and gRPC frames"
        );
        assert_eq!(booked("46 main (/bin/outrigger)", &files), "standard library, and what is not resolved");
        assert_eq!(booked("9 _int_malloc (/lib/libc.so.6)", &[]), "allocator");
        assert_eq!(
            booked("9 __memmove_avx512_unaligned_erms (/lib/libc.so.6)", &[]),
            "memory copied and compared"
        );
    }
}
