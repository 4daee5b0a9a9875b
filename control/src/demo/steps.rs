//! The seven steps of one call, as the apps and the sidecars tell them, shown in order as they become known.
//!
//! The sidecars' lines come from `--trace-steps`: scope `outrigger.steps`, message
//! `step=3 name=connected call=7 side=caller t_us=412 at_us=1700000000123456 detail=…`. All times are the wall clock of
//! this host, so that those of four processes can be put in order.

use crate::cli::paint::Paint;

/// Scope of the sidecars' lines.
const SCOPE: &str = "outrigger.steps";
/// How many steps are shown.
pub(super) const STEPS: u8 = 7;

/// Something that one of the four told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told {
    /// Its number on the screen, 1 to 7.
    pub(super) number: u8,
    /// When, microseconds since the Unix epoch.
    pub(super) at_us: u64,
    /// What only this call knows.
    pub(super) detail: String,
}

/// Reads a sidecar's log line; `None` for every line that is no step shown here.
pub(super) fn read(line: &str) -> Option<Told> {
    let object: serde_json::Value = serde_json::from_str(line).ok()?;
    if object.get("scope")?.as_str()? != SCOPE {
        return None;
    }
    let message = object.get("msg")?.as_str()?;
    let (fields, detail) = message.split_once(" detail=").unwrap_or((message, ""));
    let field = |name: &str| {
        fields
            .split(' ')
            .find_map(|word| word.split_once('=').filter(|(key, _)| *key == name))
            .map(|(_, v)| v)
    };
    let number = match (field("side")?, field("name")?) {
        ("caller", "received") => 1,
        ("caller", "resolved") => 2,
        ("caller", "connected") => 3,
        ("callee", "allowed") => 4,
        ("callee", "answered") => 6,
        _ => return None,
    };
    Some(Told { number, at_us: field("at_us")?.parse().ok()?, detail: plainly(number, detail) })
}

/// A sidecar's detail in words.
fn plainly(number: u8, detail: &str) -> String {
    match number {
        1 => format!("POST {detail}"),
        4 => format!("{detail} may call"),
        6 => format!("it took {detail} µs"),
        _ => detail.to_owned(),
    }
}

/// What is shown so far.
#[derive(Debug)]
pub(super) struct Board {
    paint: Paint,
    began_us: u64,
    told: Vec<Told>,
    next: u8,
}

impl Board {
    /// A call that begins now.
    pub(super) fn new(paint: Paint, began_us: u64) -> Board {
        Board { paint, began_us, told: Vec::new(), next: 1 }
    }

    /// Takes in one step; returns the lines (with their ends) that can be shown now. A step waits for those before it.
    pub(super) fn take(&mut self, told: Told) -> Vec<String> {
        if told.number < self.next || self.told.iter().any(|known| known.number == told.number) {
            return Vec::new();
        }
        self.told.push(told);
        let mut lines = Vec::new();
        while let Some(index) = self.told.iter().position(|told| told.number == self.next) {
            let told = self.told.swap_remove(index);
            lines.push(self.line(&told));
            self.next += 1;
        }
        lines
    }

    /// Whether all seven are shown.
    pub(super) fn is_complete(&self) -> bool {
        self.next > STEPS
    }

    /// The number of the first step that nobody told.
    pub(super) fn missing(&self) -> u8 {
        self.next
    }

    fn line(&self, told: &Told) -> String {
        let ms = told.at_us.saturating_sub(self.began_us) as f64 / 1000.0;
        let time = format!("{ms:>8.2} ms");
        let detail = if told.detail.is_empty() { String::new() } else { format!(": {}", told.detail) };
        format!("{}  {time}  {}{detail}\n", self.paint.bold(&told.number.to_string()), words(told.number))
    }
}

fn words(number: u8) -> &'static str {
    match number {
        1 => "app A's request is at its sidecar",
        2 => "sidecar A found app B by its name",
        3 => "sidecar A and sidecar B are connected",
        4 => "sidecar B checked its policy",
        5 => "app B has the request",
        6 => "app B's reply is on its way back",
        _ => "app A has the reply",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(side: &str, name: &str, detail: &str) -> String {
        let message = format!("step=2 name={name} call=1 side={side} t_us=5 at_us=1000500 detail={detail}");
        serde_json::json!({"scope": SCOPE, "msg": message, "level": "info"}).to_string()
    }

    #[test]
    fn a_sidecars_line_is_read_with_its_detail() {
        let told = read(&line("caller", "resolved", "by mdns: 127.0.0.1:50002")).unwrap();
        assert_eq!(told, Told { number: 2, at_us: 1_000_500, detail: "by mdns: 127.0.0.1:50002".into() });
    }

    #[test]
    fn other_lines_are_no_steps() {
        for other in
            ["", "plain text", "{\"scope\":\"dapr.runtime\",\"msg\":\"x\"}", &line("caller", "sent", "")]
        {
            assert_eq!(read(other), None, "{other}");
        }
    }

    #[test]
    fn steps_are_shown_in_order_whoever_tells_first() {
        let mut board = Board::new(Paint::plain(), 1_000_000);
        let told =
            |number| Told { number, at_us: 1_000_000 + u64::from(number) * 1000, detail: String::new() };
        assert!(board.take(told(2)).is_empty());
        assert_eq!(
            board.take(told(1)),
            [
                "1      1.00 ms  app A's request is at its sidecar\n",
                "2      2.00 ms  sidecar A found app B by its name\n"
            ]
        );
        assert!(board.take(told(1)).is_empty(), "a step is shown once");
        assert_eq!(board.missing(), 3);
        (3..=7).for_each(|number| drop(board.take(told(number))));
        assert!(board.is_complete());
    }
}
