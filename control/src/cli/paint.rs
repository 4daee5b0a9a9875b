//! Colour, on a terminal only.

use std::io::IsTerminal;

/// Whether to use colour.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paint {
    on: bool,
}

impl Paint {
    /// Colour if standard output is a terminal and `NO_COLOR` is not set (no-color.org).
    pub(crate) fn for_stdout() -> Paint {
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Paint { on: std::io::stdout().is_terminal() && !unwanted }
    }

    /// No colour.
    #[cfg(test)]
    pub(crate) fn plain() -> Paint {
        Paint { on: false }
    }

    pub(crate) fn bold(self, text: &str) -> String {
        self.with(text, 1)
    }

    pub(crate) fn red(self, text: &str) -> String {
        self.with(text, 31)
    }

    pub(crate) fn green(self, text: &str) -> String {
        self.with(text, 32)
    }

    pub(crate) fn yellow(self, text: &str) -> String {
        self.with(text, 33)
    }

    fn with(self, text: &str, code: u8) -> String {
        if self.on { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}
