//! Prometheus text as the Go client writes it (spec/resolution 5.2, vectors surface/metrics): families by name, labels in
//! alphabetical order, series by label values, floats in their shortest form.

use proto::control::{Family, Kind, Series};
use std::fmt::Write as _;

/// The value of `Content-Type`, as recorded.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores";

/// All families as one document. Families of the same name are joined; those of no known kind, and series that do not
/// fit their family, are left out. A family without series does not appear.
pub fn render(families: &[Family]) -> String {
    let mut sorted: Vec<&Family> = families.iter().filter(|family| !family.series.is_empty()).collect();
    sorted.sort_by(|a, b| a.name.cmp(&b.name));
    let mut text = String::new();
    for same in sorted.chunk_by(|a, b| a.name == b.name) {
        all_of_one_name(&mut text, same);
    }
    text
}

// Writing to a string cannot fail.
fn all_of_one_name(text: &mut String, families: &[&Family]) {
    let Some(first) = families.first() else { return };
    let kind = match first.kind() {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram => "histogram",
        Kind::Unspecified => return,
    };
    let _ = writeln!(text, "# HELP {} {}", first.name, escaped(&first.help, false));
    let _ = writeln!(text, "# TYPE {} {kind}", first.name);
    let mut all: Vec<(String, &Family, &Series)> = families
        .iter()
        .filter(|family| family.kind == first.kind)
        .flat_map(|family| family.series.iter().map(|series| (labels(family, series), *family, series)))
        .filter(|(_, family, series)| fits(family, series))
        .collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    for (labels, family, series) in all {
        match first.kind() {
            Kind::Histogram => histogram(text, family, series, &labels),
            _ => line(text, &family.name, "", &labels, "", &number(series.value)),
        }
    }
}

fn fits(family: &Family, series: &Series) -> bool {
    let buckets = family.kind() != Kind::Histogram || series.buckets.len() == family.bounds.len() + 1;
    series.labels.len() == family.labels.len() && buckets
}

/// `a="1",b="2"`, by label name.
fn labels(family: &Family, series: &Series) -> String {
    let mut pairs: Vec<_> = family.labels.iter().zip(&series.labels).collect();
    pairs.sort_unstable();
    let pairs = pairs.into_iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value, true)));
    pairs.collect::<Vec<_>>().join(",")
}

fn histogram(text: &mut String, family: &Family, series: &Series, labels: &str) {
    let mut count = 0_u64;
    let bounds = family.bounds.iter().map(|bound| number(*bound)).chain(["+Inf".to_owned()]);
    for (bound, bucket) in bounds.zip(&series.buckets) {
        count = count.saturating_add(*bucket);
        line(text, &family.name, "_bucket", labels, &format!("le=\"{bound}\""), &count.to_string());
    }
    line(text, &family.name, "_sum", labels, "", &number(series.value));
    line(text, &family.name, "_count", labels, "", &count.to_string());
}

fn line(text: &mut String, name: &str, suffix: &str, labels: &str, more: &str, value: &str) {
    let comma = if labels.is_empty() || more.is_empty() { "" } else { "," };
    let _ = match labels.len() + more.len() {
        0 => writeln!(text, "{name}{suffix} {value}"),
        _ => writeln!(text, "{name}{suffix}{{{labels}{comma}{more}}} {value}"),
    };
}

fn escaped(text: &str, quotes: bool) -> String {
    let text = text.replace('\\', "\\\\").replace('\n', "\\n");
    if quotes { text.replace('"', "\\\"") } else { text }
}

/// A float as Go's `%g` writes it in its shortest form, and integral values below 21 digits as the client does for 0 and 1:
/// exponents from 6 up and below -4, of at least two digits.
fn number(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf".to_owned() } else { "-Inf".to_owned() };
    }
    let scientific = format!("{value:e}");
    let Some((digits, exponent)) = scientific.split_once('e') else { return scientific };
    match exponent.parse::<i32>() {
        Ok(exponent) if !(-4..6).contains(&exponent) => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{digits}e{sign}{:02}", exponent.abs())
        }
        _ => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(labels: &[&str], value: f64) -> Series {
        Series { labels: labels.iter().map(|l| (*l).to_owned()).collect(), value, buckets: Vec::new() }
    }

    fn family(name: &str, kind: Kind, labels: &[&str], series: Vec<Series>) -> Family {
        Family {
            name: name.into(),
            help: "What it is.".into(),
            kind: kind.into(),
            labels: labels.iter().map(|l| (*l).to_owned()).collect(),
            bounds: Vec::new(),
            series,
        }
    }

    #[test]
    fn families_labels_and_series_stand_in_alphabetical_order() {
        let one = family(
            "b_total",
            Kind::Counter,
            &["z", "a"],
            vec![series(&["2", "y"], 1.0), series(&["1", "x"], 2.0)],
        );
        let other = family("a", Kind::Gauge, &[], vec![series(&[], 0.5)]);
        let text = "# HELP a What it is.\n# TYPE a gauge\na 0.5\n\
                    # HELP b_total What it is.\n# TYPE b_total counter\n\
                    b_total{a=\"x\",z=\"1\"} 2\nb_total{a=\"y\",z=\"2\"} 1\n";
        assert_eq!(render(&[one, other]), text);
    }

    #[test]
    fn buckets_are_cumulative_and_end_with_infinity() {
        let values = Series { labels: vec!["a".into()], value: 12.5, buckets: vec![1, 0, 2] };
        let latency =
            Family { bounds: vec![1.0, 1_048_576.0], ..family("l", Kind::Histogram, &["x"], vec![values]) };
        let text = "# HELP l What it is.\n# TYPE l histogram\n\
                    l_bucket{x=\"a\",le=\"1\"} 1\nl_bucket{x=\"a\",le=\"1.048576e+06\"} 1\n\
                    l_bucket{x=\"a\",le=\"+Inf\"} 3\nl_sum{x=\"a\"} 12.5\nl_count{x=\"a\"} 3\n";
        assert_eq!(render(&[latency]), text);
    }

    #[test]
    fn a_family_in_pieces_is_joined_and_what_does_not_fit_is_left_out() {
        let first = family("c", Kind::Counter, &["a"], vec![series(&["2"], 1.0)]);
        let second = family("c", Kind::Counter, &["a"], vec![series(&["1"], 1.0), series(&[], 7.0)]);
        let odd = family("d", Kind::Unspecified, &[], vec![series(&[], 1.0)]);
        let empty = family("e", Kind::Counter, &[], Vec::new());
        let text = "# HELP c What it is.\n# TYPE c counter\nc{a=\"1\"} 1\nc{a=\"2\"} 1\n";
        assert_eq!(render(&[first, second, odd, empty]), text);
    }

    #[test]
    fn values_of_labels_cannot_break_out() {
        let odd = family("c", Kind::Counter, &["a"], vec![series(&["x\"} 9\n\\"], 1.0)]);
        assert!(render(&[odd]).ends_with("c{a=\"x\\\"} 9\\n\\\\\"} 1\n"));
    }

    /// The recorded text as families.
    fn parse(text: &str) -> Vec<Family> {
        let mut families: Vec<Family> = Vec::new();
        for line in text.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, help) = help.split_once(' ').unwrap();
                families.push(Family { name: name.into(), help: help.into(), ..Family::default() });
                continue;
            }
            let family = families.last_mut().unwrap();
            match line.strip_prefix("# TYPE ") {
                Some(kind) if kind.ends_with("counter") => family.set_kind(Kind::Counter),
                Some(kind) if kind.ends_with("gauge") => family.set_kind(Kind::Gauge),
                Some(_) => family.set_kind(Kind::Histogram),
                None => sample(family, line),
            }
        }
        families
    }

    fn sample(family: &mut Family, line: &str) {
        let (name, rest) = line.split_once('{').unwrap();
        let (labels, value) = rest.rsplit_once("} ").unwrap();
        let labels = labels.strip_suffix('"').unwrap().split("\",");
        let pairs = labels.map(|pair| pair.split_once("=\"").unwrap());
        let (bounds, labels): (Vec<_>, Vec<_>) = pairs.partition(|(name, _)| *name == "le");
        let values: Vec<String> = labels.iter().map(|(_, value)| (*value).to_owned()).collect();
        family.labels = labels.iter().map(|(name, _)| (*name).to_owned()).collect();
        if family.series.last().is_none_or(|series| series.labels != values) {
            family.series.push(Series { labels: values, ..Series::default() });
        }
        let series = family.series.last_mut().unwrap();
        match (bounds.first(), name.ends_with("_count") && family.kind == Kind::Histogram as i32) {
            (Some((_, bound)), _) => {
                let before: u64 = series.buckets.iter().sum();
                series.buckets.push(value.parse::<u64>().unwrap() - before);
                let bound = bound.parse::<f64>().unwrap();
                if bound.is_finite() && !family.bounds.contains(&bound) {
                    family.bounds.push(bound);
                }
            }
            (None, true) => {}
            (None, false) => series.value = value.parse().unwrap(),
        }
    }

    #[test]
    fn what_daprd_exported_is_written_as_daprd_wrote_it() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/vectors/surface/metrics");
        let mut files = 0;
        for file in std::fs::read_dir(folder).unwrap() {
            let recorded = std::fs::read_to_string(file.unwrap().path()).unwrap();
            // how many fell into each bucket, and their sum, was left open; the infinite one was not
            let recorded = recorded.replace("\"} {T}\n", "\"} 0\n");
            let mut families = parse(&recorded);
            families.reverse();
            families.iter_mut().for_each(|family| family.series.reverse());
            assert_eq!(render(&families), recorded);
            files += 1;
        }
        assert!(files >= 9);
    }

    #[test]
    fn numbers_look_like_the_recorded_ones() {
        let cases = [
            (0.0, "0"),
            (1.0, "1"),
            (-3.0, "-3"),
            (100_000.0, "100000"),
            (262_144.0, "262144"),
            (1_048_576.0, "1.048576e+06"),
            (4_294_967_296.0, "4.294967296e+09"),
            (0.05, "0.05"),
            (0.000_05, "5e-05"),
            (1e21, "1e+21"),
            (12.25, "12.25"),
            (f64::INFINITY, "+Inf"),
        ];
        for (value, text) in cases {
            assert_eq!(number(value), text);
        }
    }
}
