use super::*;

const GROUP: &Group = &Group {
    labels: &[open("path"), closed("status")],
    metrics: &[
        Metric { name: "calls", help: "Calls.", shape: Shape::Counter },
        Metric { name: "latency", help: "Time.", shape: Shape::Histogram(&[1.0, 2.0]) },
    ],
};

fn table() -> (Arc<Rows>, Table) {
    let rows = Arc::new(Rows::new(GROUP));
    (rows.clone(), Table::new(rows))
}

#[test]
fn the_same_labels_find_the_same_row() {
    let (_, table) = table();
    let (a, b) = (table.row(&["/a", "200"]), table.row(&["/b", "200"]));
    assert_eq!(table.row(&["/a", "200"]).0, a.0);
    assert_ne!(a.0, b.0);
}

#[test]
fn a_value_equal_to_a_bound_falls_into_the_next_bucket() {
    let (rows, table) = table();
    let row = table.row(&["/a", "200"]);
    [0.5, 1.0, 1.5, 7.0].into_iter().for_each(|v| table.observe(row, 1, v));
    let latency = &families([&*rows].into_iter(), "me")[1];
    assert_eq!(latency.series[0].buckets, [1, 2, 1]);
    assert!((latency.series[0].value - 10.0).abs() < 1e-9);
    assert_eq!(latency.bounds, [1.0, 2.0]);
}

#[test]
fn shards_are_summed() {
    let ((rows1, one), (rows2, two)) = (table(), table());
    for (table, by) in [(&one, 2), (&two, 3)] {
        table.count(table.row(&["/a", "200"]), 0, by);
        table.observe(table.row(&["/a", "200"]), 1, 0.5);
    }
    let families = families([&*rows1, &*rows2].into_iter(), "me");
    assert_eq!(families[0].labels, ["app_id", "path", "status"]);
    assert_eq!(families[0].series[0].labels, ["me", "/a", "200"]);
    assert!((families[0].series[0].value - 5.0).abs() < 1e-9);
    assert!((families[1].series[0].value - 1.0).abs() < 1e-9);
}

#[test]
fn a_full_group_counts_new_values_as_other_and_says_so() {
    let (rows, table) = table();
    for i in 0..MOST_ROWS + 1000 {
        table.count(table.row(&[&format!("/{i}"), "200"]), 0, 1);
    }
    table.count(table.row(&["/new", "404"]), 0, 1);
    assert_eq!(rows.overflowed(), 1001);
    let families = families([&*rows].into_iter(), "me");
    let other = |status: &str| {
        let found = families[0].series.iter().find(|s| s.labels == ["me", OTHER, status]);
        found.map(|s| s.value as u64)
    };
    assert_eq!((other("200"), other("404")), (Some(1000), Some(1)));
    assert_eq!(families[0].series.len(), MOST_ROWS + 2);
}

#[test]
fn no_flood_of_labels_outgrows_the_rows() {
    let (rows, table) = table();
    for i in 0..5000 {
        table.count(table.row(&["/a", &i.to_string()]), 0, 1);
    }
    let families = families([&*rows].into_iter(), "me");
    assert!(families[0].series.len() <= MOST_ROWS + SPARE_ROWS);
    let total: f64 = families[0].series.iter().map(|s| s.value).sum();
    assert!((total - 5000.0).abs() < 1e-9, "nothing is lost");
}

#[test]
fn values_that_cannot_be_shown_are_counted_as_other() {
    let (rows, table) = table();
    table.count(table.row(&["/ä", "200"]), 0, 1);
    table.count(table.row(&[&"x".repeat(256), "200"]), 0, 1);
    assert_eq!(families([&*rows].into_iter(), "me")[0].series[0].labels, ["me", OTHER, "200"]);
    assert_eq!(rows.overflowed(), 2);
}
