//! Reports in parts: cut so that each fits into a frame, joined again on the other side.

use super::{Family, Report};
use prost::Message as _;

/// The count that is 1 while the app fails its health probes, and 0 while it takes calls.
pub const APP_UNHEALTHY: &str = "app unhealthy";

/// Size in bytes above which a report is cut. A single series or peer is far smaller than what is left to the frame's limit.
pub const MAX_PART: usize = 1 << 20;
/// Most parts of one report; what is beyond is dropped and counted as lost.
pub const MAX_PARTS: usize = 64;

impl Report {
    /// The parts to send as the answer to `Collect` with this id. Whole series are left out, and counted as lost, only if
    /// they do not fit into [`MAX_PARTS`].
    pub fn into_parts(mut self, id: u64) -> Vec<Report> {
        self.id = id;
        let mut cut =
            Cut { parts: Vec::new(), part: Report { id, ..Report::default() }, size: 0, dropped: 0 };
        for family in std::mem::take(&mut self.families) {
            cut.family(family);
        }
        for peer in std::mem::take(&mut self.peers) {
            cut.room(peer.encoded_len());
            cut.part.peers.push(peer);
        }
        for endpoint in std::mem::take(&mut self.endpoints) {
            cut.room(endpoint.encoded_len());
            cut.part.endpoints.push(endpoint);
        }
        cut.finish(self)
    }

    /// Adds a further part.
    fn join(&mut self, part: Report) {
        self.more = part.more;
        self.peers.extend(part.peers);
        self.endpoints.extend(part.endpoints);
        self.counts.extend(part.counts);
        self.warnings.extend(part.warnings);
        self.lost += part.lost;
        for family in part.families {
            match self.families.last_mut() {
                Some(last) if last.name == family.name => last.series.extend(family.series),
                _ => self.families.push(family),
            }
        }
    }
}

struct Cut {
    parts: Vec<Report>,
    part: Report,
    size: usize,
    dropped: u64,
}

impl Cut {
    /// Makes room for `length` bytes and a few around them.
    fn room(&mut self, length: usize) {
        if self.size + length > MAX_PART {
            let next = Report { id: self.part.id, ..Report::default() };
            self.parts.push(std::mem::replace(&mut self.part, next));
            self.size = 0;
        }
        self.size += length + 8;
    }

    fn family(&mut self, mut family: Family) {
        let series = std::mem::take(&mut family.series);
        let head = family.encoded_len();
        let mut open = series.is_empty();
        if open {
            self.room(head);
            self.part.families.push(family.clone());
        }
        for one in series {
            let (before, length) = (self.parts.len(), one.encoded_len());
            self.room(length + if open { 0 } else { head });
            if !open || self.parts.len() != before {
                self.part.families.push(family.clone());
                open = true;
            }
            if let Some(last) = self.part.families.last_mut() {
                last.series.push(one);
            }
        }
    }

    fn finish(mut self, rest: Report) -> Vec<Report> {
        self.parts.push(self.part);
        for part in self.parts.iter().skip(MAX_PARTS) {
            self.dropped += part.families.iter().map(|family| family.series.len() as u64).sum::<u64>();
            self.dropped += (part.peers.len() + part.endpoints.len()) as u64;
        }
        self.parts.truncate(MAX_PARTS);
        let last = self.parts.len() - 1;
        for (at, part) in self.parts.iter_mut().enumerate() {
            part.more = at != last;
        }
        if let Some(first) = self.parts.first_mut() {
            first.counts = rest.counts;
            first.warnings = rest.warnings;
            first.lost = rest.lost + self.dropped;
        }
        self.parts
    }
}

/// Joins the parts of the report that is waited for.
#[derive(Debug, Default)]
pub struct Gathering {
    report: Option<Report>,
    parts: usize,
}

impl Gathering {
    /// Takes a part; the whole report when it is the last. Parts of an earlier report are dropped when a new one begins.
    pub fn take(&mut self, part: Report) -> Option<Report> {
        let same = self.report.as_ref().is_some_and(|report| report.id == part.id);
        match &mut self.report {
            Some(report) if same && self.parts < MAX_PARTS => {
                self.parts += 1;
                report.join(part);
            }
            Some(report) if same => report.more = part.more,
            _ => (self.report, self.parts) = (Some(part), 1),
        }
        self.report.take_if(|report| !report.more)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::{Count, Kind, Peer, Series, frame};

    fn family(name: &str, series: usize) -> Family {
        let one =
            |n: usize| Series { labels: vec![format!("value-{n}")], value: n as f64, buckets: vec![1; 35] };
        Family {
            name: name.into(),
            kind: Kind::Histogram.into(),
            labels: vec!["label".into()],
            series: (0..series).map(one).collect(),
            ..Family::default()
        }
    }

    fn report(series: usize) -> Report {
        Report {
            families: vec![family("a", 3), family("b", series), family("c", 3)],
            peers: vec![Peer { address: "10.0.0.1:1".into(), ..Peer::default() }; series],
            counts: vec![Count { name: "calls in flight".into(), value: 3 }],
            lost: 2,
            ..Report::default()
        }
    }

    #[test]
    fn a_report_of_any_size_is_whole_again_after_its_parts_were_joined() {
        for size in [0, 10, 40_000] {
            let parts = report(size).into_parts(9);
            assert_eq!(parts.len() > 1, size > 10);
            assert!(parts.iter().all(|part| part.encoded_len() <= frame::MAX_FRAME / 2));
            let mut gathering = Gathering::default();
            let mut whole: Vec<_> = parts.into_iter().filter_map(|part| gathering.take(part)).collect();
            assert_eq!(whole.pop(), Some(Report { id: 9, ..report(size) }));
            assert!(whole.is_empty());
        }
    }

    #[test]
    fn what_does_not_fit_into_the_most_parts_is_counted_as_lost() {
        let parts = report(1_000_000).into_parts(1);
        assert_eq!(parts.len(), MAX_PARTS);
        assert!(parts.first().unwrap().lost > 2 && !parts.last().unwrap().more);
    }

    #[test]
    fn a_report_that_was_never_finished_does_not_mix_with_the_next() {
        let mut gathering = Gathering::default();
        assert_eq!(gathering.take(Report { id: 1, more: true, lost: 5, ..Report::default() }), None);
        let next = Report { id: 2, lost: 1, ..Report::default() };
        assert_eq!(gathering.take(next.clone()), Some(next));
    }
}
