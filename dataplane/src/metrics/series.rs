//! Series: cells that one shard writes and the collector reads, without a lock between them.
//!
//! A group is the families that share one set of labels; a row is one combination of their values with all cells of
//! the group. Looking a row up costs one hash; then every family of the group is a plain store.

use proto::control::{Family, Kind, Series};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

/// The value that stands for all that came after a group was full.
pub(crate) const OTHER: &str = "other";

/// The longest label value (spec/resolution 5.2).
const LONGEST_VALUE: usize = 255;

/// Most rows of one group and shard; then new combinations are counted as [`OTHER`].
pub(crate) const MOST_ROWS: usize = 512;

/// Rows beyond [`MOST_ROWS`] for combinations whose open labels were replaced.
const SPARE_ROWS: usize = 256;

/// A label.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Label {
    pub(crate) name: &'static str,
    /// The outside world chooses its values; they are replaced when the group is full.
    pub(crate) open: bool,
}

/// A label with a bounded set of values.
pub(crate) const fn closed(name: &'static str) -> Label {
    Label { name, open: false }
}

/// A label whose values the outside world chooses.
pub(crate) const fn open(name: &'static str) -> Label {
    Label { name, open: true }
}

/// A metric.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Metric {
    pub(crate) name: &'static str,
    pub(crate) help: &'static str,
    pub(crate) shape: Shape,
}

/// How a metric adds up.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Shape {
    Counter,
    /// Upper bounds of the buckets, ascending; a bucket does not hold its bound (spec/resolution 5.2).
    Histogram(&'static [f64]),
}

impl Shape {
    /// A counter: its value. A histogram: one cell a bucket, then the sum as the bits of an `f64`.
    fn cells(self) -> usize {
        match self {
            Shape::Counter => 1,
            Shape::Histogram(bounds) => bounds.len() + 2,
        }
    }
}

/// Families that share one set of labels.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Group {
    pub(crate) labels: &'static [Label],
    pub(crate) metrics: &'static [Metric],
}

/// One combination of label values with its cells.
#[derive(Debug)]
pub(crate) struct Row {
    labels: Box<[Box<str>]>,
    cells: Box<[AtomicU64]>,
}

/// The rows of one group and shard. Only ever grows, up to a fixed length: readable while it is written.
#[derive(Debug)]
pub(crate) struct Rows {
    group: &'static Group,
    rows: Box<[OnceLock<Row>]>,
    /// Records whose labels were replaced by [`OTHER`].
    overflowed: AtomicU64,
}

impl Rows {
    pub(crate) fn new(group: &'static Group) -> Rows {
        let most = if group.labels.is_empty() { 1 } else { MOST_ROWS + SPARE_ROWS };
        let rows = (0..most).map(|_| OnceLock::new()).collect();
        Rows { group, rows, overflowed: AtomicU64::new(0) }
    }

    pub(crate) fn overflowed(&self) -> u64 {
        self.overflowed.load(Relaxed)
    }
}

/// The writing end of [`Rows`]: finds the row of a combination.
#[derive(Debug)]
pub(crate) struct Table {
    rows: Arc<Rows>,
    found: RefCell<HashMap<u64, Vec<usize>, BuildHasherDefault<AsItIs>>>,
    len: Cell<usize>,
    /// The row found last: calls of one kind come in a row, and comparing costs less than looking up.
    last: Cell<usize>,
    seed: u64,
}

/// Keys that are hashes already.
#[derive(Debug, Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().fold(self.0, |hash, byte| mix(hash, u64::from(*byte)));
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

fn mix(hash: u64, word: u64) -> u64 {
    let product = u128::from(hash ^ word) * 0x9e37_79b9_7f4a_7c15;
    (product >> 64) as u64 ^ product as u64
}

/// A hash of the values, eight bytes a step. Collisions cost a comparison, and there are few rows.
fn hash_of(seed: u64, values: &[&str]) -> u64 {
    values.iter().fold(seed, |hash, value| {
        let (words, last) = value.as_bytes().as_chunks::<8>();
        let hash = words.iter().fold(mix(hash, value.len() as u64), |h, w| mix(h, u64::from_le_bytes(*w)));
        last.iter().fold(hash, |h, byte| mix(h, u64::from(*byte)))
    })
}

/// A row to write to. Valid for the shard it came from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RowId(usize);

impl Table {
    pub(crate) fn new(rows: Arc<Rows>) -> Table {
        let seed = RandomState::new().hash_one(0);
        Table { rows, found: RefCell::default(), len: Cell::new(0), last: Cell::new(0), seed }
    }

    /// The row of these values, made if there is none yet. Values beyond the limits share rows.
    pub(crate) fn row(&self, values: &[&str]) -> RowId {
        if self.is(self.last.get(), values) {
            return RowId(self.last.get());
        }
        let hash = hash_of(self.seed, values);
        if let Some(row) = self.known(hash, values) {
            self.last.set(row.0);
            return row;
        }
        if self.len.get() < MOST_ROWS && values.iter().all(|v| is_fit(v)) {
            return self.add(hash, values);
        }
        self.overflow(values)
    }

    fn known(&self, hash: u64, values: &[&str]) -> Option<RowId> {
        let found = self.found.borrow();
        let rows = found.get(&hash)?.iter();
        rows.copied().find(|&at| self.is(at, values)).map(RowId)
    }

    /// Whether the row is there and that of these values.
    fn is(&self, at: usize, values: &[&str]) -> bool {
        let row = self.rows.rows.get(at).and_then(OnceLock::get);
        row.is_some_and(|row| row.labels.iter().map(|l| &**l).eq(values.iter().copied()))
    }

    fn add(&self, hash: u64, values: &[&str]) -> RowId {
        let at = self.len.get().min(self.rows.rows.len().saturating_sub(1));
        let metrics = self.rows.group.metrics.iter();
        let cells = metrics.map(|m| m.shape.cells()).sum();
        let row = Row {
            labels: values.iter().map(|&v| v.into()).collect(),
            cells: (0..cells).map(|_| AtomicU64::new(0)).collect(),
        };
        if let Some(slot) = self.rows.rows.get(at) {
            let _ = slot.set(row);
        }
        self.len.set(at + 1);
        self.found.borrow_mut().entry(hash).or_default().push(at);
        RowId(at)
    }

    #[cold]
    fn overflow(&self, values: &[&str]) -> RowId {
        bump(&self.rows.overflowed, 1);
        let labels = self.rows.group.labels.iter();
        let replaced: Vec<&str> = labels.zip(values).map(|(l, v)| if l.open { OTHER } else { v }).collect();
        let full = self.len.get() + 1 >= self.rows.rows.len() || !replaced.iter().all(|v| is_fit(v));
        let values = if full { vec![OTHER; replaced.len()] } else { replaced };
        let hash = hash_of(self.seed, &values);
        self.known(hash, &values).unwrap_or_else(|| self.add(hash, &values))
    }

    /// Adds `by` to the counter `metric` of the group.
    pub(crate) fn count(&self, row: RowId, metric: usize, by: u64) {
        if let Some(cell) = self.cells(row, metric).and_then(|(_, cells)| cells.first()) {
            bump(cell, by);
        }
    }

    /// Puts `value` into the histogram `metric` of the group.
    pub(crate) fn observe(&self, row: RowId, metric: usize, value: f64) {
        let Some((Shape::Histogram(bounds), cells)) = self.cells(row, metric) else { return };
        let bucket = bounds.partition_point(|&bound| bound <= value);
        if let (Some(cell), Some(sum)) = (cells.get(bucket), cells.last()) {
            bump(cell, 1);
            sum.store((f64::from_bits(sum.load(Relaxed)) + value).to_bits(), Relaxed);
        }
    }

    fn cells(&self, row: RowId, metric: usize) -> Option<(Shape, &[AtomicU64])> {
        let metrics = self.rows.group.metrics;
        let first: usize = metrics.iter().take(metric).map(|m| m.shape.cells()).sum();
        let shape = metrics.get(metric)?.shape;
        let cells = &self.rows.rows.get(row.0)?.get()?.cells;
        cells.get(first..first + shape.cells()).map(|cells| (shape, cells))
    }
}

/// One writer: no read-modify-write instruction is needed.
pub(crate) fn bump(cell: &AtomicU64, by: u64) {
    cell.store(cell.load(Relaxed).wrapping_add(by), Relaxed);
}

/// What the exposition may carry: printable ASCII of limited length (spec/resolution 5.2).
fn is_fit(value: &str) -> bool {
    value.len() <= LONGEST_VALUE && value.bytes().all(|b| (0x20..0x7f).contains(&b))
}

/// The families of one group, summed over shards, with `app_id` as first label.
pub(crate) fn families<'a>(shards: impl Iterator<Item = &'a Rows>, app_id: &str) -> Vec<Family> {
    let mut sums: BTreeMap<&[Box<str>], Vec<u64>> = BTreeMap::new();
    let mut group: Option<&'static Group> = None;
    for rows in shards {
        group = Some(rows.group);
        for row in rows.rows.iter().map_while(OnceLock::get) {
            add_row(rows.group, sums.entry(&row.labels).or_default(), row);
        }
    }
    let Some(group) = group else { return Vec::new() };
    let mut first = 0;
    let mut families = Vec::new();
    for metric in group.metrics {
        let cells = first..first + metric.shape.cells();
        first = cells.end;
        families.push(family(group, metric, app_id, &sums, cells));
    }
    families
}

fn add_row(group: &Group, sum: &mut Vec<u64>, row: &Row) {
    sum.resize(row.cells.len(), 0);
    let is_sum = group.metrics.iter().flat_map(|m| {
        let last = m.shape.cells() - 1;
        (0..=last).map(move |i| i == last && matches!(m.shape, Shape::Histogram(_)))
    });
    for ((sum, cell), is_float) in sum.iter_mut().zip(&row.cells).zip(is_sum) {
        let value = cell.load(Relaxed);
        *sum = if is_float {
            (f64::from_bits(*sum) + f64::from_bits(value)).to_bits()
        } else {
            sum.wrapping_add(value)
        };
    }
}

fn family(
    group: &Group,
    metric: &Metric,
    app_id: &str,
    sums: &BTreeMap<&[Box<str>], Vec<u64>>,
    cells: std::ops::Range<usize>,
) -> Family {
    let series = sums.iter().map(|(labels, sums)| {
        let cells = sums.get(cells.clone()).unwrap_or_default();
        let mut series = series(metric.shape, cells);
        series.labels =
            std::iter::once(app_id).chain(labels.iter().map(|l| &**l)).map(String::from).collect();
        series
    });
    Family {
        name: metric.name.into(),
        help: metric.help.into(),
        kind: match metric.shape {
            Shape::Counter => Kind::Counter.into(),
            Shape::Histogram(_) => Kind::Histogram.into(),
        },
        labels: std::iter::once("app_id")
            .chain(group.labels.iter().map(|l| l.name))
            .map(String::from)
            .collect(),
        bounds: match metric.shape {
            Shape::Counter => Vec::new(),
            Shape::Histogram(bounds) => bounds.to_vec(),
        },
        series: series.collect(),
    }
}

#[allow(clippy::cast_precision_loss, reason = "Prometheus values are floats")]
fn series(shape: Shape, cells: &[u64]) -> Series {
    match (shape, cells.split_last()) {
        (Shape::Histogram(_), Some((sum, buckets))) => {
            Series { labels: Vec::new(), value: f64::from_bits(*sum), buckets: buckets.to_vec() }
        }
        (_, last) => {
            Series { labels: Vec::new(), value: last.map_or(0.0, |(v, _)| *v as f64), buckets: Vec::new() }
        }
    }
}

#[cfg(test)]
mod tests;
