//! From addresses in the executable to source files, inlined functions included.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The executable that is looked into.
pub(super) struct Frames {
    executable: PathBuf,
}

/// Source files by address, the innermost inlined function's first.
pub(super) type Files = BTreeMap<u64, Vec<String>>;

impl Frames {
    pub(super) fn of(executable: &Path) -> Frames {
        Frames { executable: executable.to_owned() }
    }

    /// The name that `perf` shows for it.
    pub(super) fn is(&self, object: &str) -> bool {
        Path::new(object).file_name() == self.executable.file_name()
    }

    /// Looks all of `addresses` up with `addr2line`.
    ///
    /// # Errors
    /// What is missing.
    pub(super) fn files(&self, addresses: &BTreeSet<u64>) -> Result<Files, String> {
        let asked: String = addresses.iter().map(|address| format!("{address:x}\n")).collect();
        let mut command = Command::new("addr2line");
        command.args(["-i", "-a", "-e"]).arg(&self.executable);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let why = |error| {
            format!(
                "addr2line ({error}): our own code is booked by the names of its functions, inlined ones with their callers"
            )
        };
        let mut child = command.spawn().map_err(why)?;
        let input = child.stdin.take();
        // a writer of its own: the program answers before it has heard everything
        let writer = std::thread::spawn(move || input.map(|mut input| input.write_all(asked.as_bytes())));
        let output = child.wait_with_output().map_err(why)?;
        drop(writer.join());
        Ok(parse(&String::from_utf8_lossy(&output.stdout)))
    }
}

/// `0xADDRESS`, then `FILE:LINE` for each function, the innermost first.
fn parse(text: &str) -> Files {
    let (mut files, mut address) = (Files::new(), 0);
    for line in text.lines() {
        match line.strip_prefix("0x").and_then(|digits| u64::from_str_radix(digits, 16).ok()) {
            Some(next) => address = next,
            None => files.entry(address).or_default().push(line.to_owned()),
        }
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_an_address_come_from_the_inside_out() {
        let files = parse(
            "0x0000000000458692\n/a/core/ptr.rs:1\n/w/proto/src/http2/flow.rs:7 (discriminator 2)\n0x10\n??:0\n",
        );
        assert_eq!(files[&0x458692], ["/a/core/ptr.rs:1", "/w/proto/src/http2/flow.rs:7 (discriminator 2)"]);
        assert_eq!(files[&0x10], ["??:0"]);
    }
}
