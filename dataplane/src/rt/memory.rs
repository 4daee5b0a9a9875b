//! The process's memory.

use super::sys;
use std::fs;

/// Resident bytes of the process; `None` where the system does not tell.
pub fn resident() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_ascii_whitespace().next()?.parse::<u64>().ok().map(|kib| kib * 1024)
}

/// Gives free memory back to the system. May take some milliseconds.
pub fn trim() {
    sys::trim_memory();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_is_used_is_resident_and_given_back_when_it_is_free() {
        let before = resident().unwrap();
        let pieces: Vec<Vec<u8>> = (0..4096).map(|_| vec![1; 16 << 10]).collect();
        let used = resident().unwrap();
        assert!(used >= before + (48 << 20), "{before} {used}");
        drop(pieces);
        trim();
        assert!(resident().unwrap() <= used - (32 << 20));
    }
}
