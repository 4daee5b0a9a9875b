//! Who listens on a TCP port, as far as the system tells: `/proc/net/tcp` names the socket, `/proc/PID/fd` its process.

use std::fs;
use std::path::Path;

/// `TCP_LISTEN` in `/proc/net/tcp`.
const LISTENING: &str = "0A";

/// The process that listens on this port, with its command line; `None` when it belongs to another user or namespace.
pub(super) fn of_port(port: u16) -> Option<String> {
    let sockets: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|table| listening_sockets(&table, port))
        .collect();
    let is_process = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().parse::<u32>().is_ok();
    let process = fs::read_dir("/proc").ok()?.filter_map(Result::ok).filter(is_process).find(|entry| {
        let fds = fs::read_dir(entry.path().join("fd")).into_iter().flatten().filter_map(Result::ok);
        fds.filter_map(|fd| fs::read_link(fd.path()).ok())
            .any(|link| sockets.iter().any(|socket| link.as_os_str() == socket.as_str()))
    })?;
    Some(described(&process.path()))
}

/// The `socket:[inode]` names of a table's listening rows on this port.
fn listening_sockets(table: &str, port: u16) -> Vec<String> {
    let on_port = format!(":{port:04X}");
    table
        .lines()
        .skip(1)
        .filter_map(|row| {
            let columns: Vec<&str> = row.split_whitespace().collect();
            let (local, state, inode) = (columns.get(1)?, columns.get(3)?, columns.get(9)?);
            (local.ends_with(&on_port) && *state == LISTENING).then(|| format!("socket:[{inode}]"))
        })
        .collect()
}

fn described(process: &Path) -> String {
    let id = process.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let line = fs::read(process.join("cmdline")).unwrap_or_default();
    let words: Vec<String> = line
        .split(|byte| *byte == 0)
        .filter(|word| !word.is_empty())
        .map(|word| String::from_utf8_lossy(word).into_owned())
        .collect();
    let line: String = words.join(" ").chars().take(60).collect();
    if line.is_empty() { format!("process {id}") } else { format!("process {id} ({line})") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn the_holder_of_a_port_is_named_with_its_command() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let holder = of_port(listener.local_addr().unwrap().port()).unwrap();
        assert!(holder.starts_with(&format!("process {} (", std::process::id())), "{holder}");
    }

    #[test]
    fn only_listening_rows_of_the_port_count() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
           0: 0100007F:0DAC 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 111 1\n\
           1: 0100007F:0DAC 0100007F:9999 01 00000000:00000000 00:00000000 00000000     0        0 222 1\n\
           2: 0100007F:0DAD 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 333 1\n";
        assert_eq!(listening_sockets(table, 3500), ["socket:[111]"]);
    }
}
