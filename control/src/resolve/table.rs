//! A fixed table from a file: for tests, examples and hosts that never change.
//!
//! One app a line: `APP[.NAMESPACE] IP:PORT [IP:PORT …]`; `#` begins a comment. Without a namespace it is `default`.

use super::way::{Own, Pending, Way};
use proto::snapshot::AppRef;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::{fs, io};
use tokio::sync::watch;

/// Names and addresses that somebody wrote down.
#[derive(Debug)]
pub struct Table {
    apps: HashMap<AppRef, Vec<SocketAddr>>,
    never: watch::Sender<u64>,
}

impl Table {
    /// Reads the table from a file.
    ///
    /// # Errors
    /// The file, the line and what was expected there.
    pub fn load(path: &Path) -> io::Result<Table> {
        let named = |e: io::Error| io::Error::new(e.kind(), format!("{}: {e}", path.display()));
        let text = fs::read_to_string(path).map_err(named)?;
        Table::parse(&text).map_err(|e| named(io::Error::new(io::ErrorKind::InvalidData, e)))
    }

    /// Reads the table from text.
    ///
    /// # Errors
    /// The line and what was expected there.
    pub fn parse(text: &str) -> Result<Table, String> {
        let mut apps: HashMap<AppRef, Vec<SocketAddr>> = HashMap::new();
        for (number, line) in text.lines().enumerate() {
            let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
            let Some(name) = words.next() else { continue };
            for word in words {
                let address =
                    word.parse().map_err(|_| format!("line {}: '{word}' is not IP:PORT", number + 1))?;
                apps.entry(app_ref(name)).or_default().push(address);
            }
        }
        Ok(Table { apps, never: watch::Sender::new(0) })
    }
}

fn app_ref(name: &str) -> AppRef {
    let (app_id, namespace) = name.split_once('.').unwrap_or((name, "default"));
    AppRef { app_id: app_id.to_owned(), namespace: namespace.to_owned() }
}

impl Way for Table {
    fn name(&self) -> &'static str {
        "table"
    }

    fn register<'a>(&'a self, _own: &'a Own) -> Pending<'a, io::Result<()>> {
        Box::pin(async { Ok(()) })
    }

    fn withdraw(&self) -> Pending<'_, ()> {
        Box::pin(async {})
    }

    fn resolve<'a>(&'a self, app: &'a AppRef) -> Pending<'a, Result<Vec<SocketAddr>, String>> {
        Box::pin(async {
            Some(self.known(app)).filter(|a| !a.is_empty()).ok_or_else(|| "no entry".to_owned())
        })
    }

    fn known(&self, app: &AppRef) -> Vec<SocketAddr> {
        self.apps.get(app).cloned().unwrap_or_default()
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.never.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_names_its_line() {
        let mistake = Table::parse("# apps\na.prod 127.0.0.1:1\nb 127.0.0.1").unwrap_err();
        assert_eq!(mistake, "line 3: '127.0.0.1' is not IP:PORT");
    }
}
