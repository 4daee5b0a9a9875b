use super::*;
use crate::rng::Rng;
use crate::snapshot::Endpoint;
use std::collections::HashMap;

fn app(n: u64) -> AppRef {
    AppRef { app_id: format!("app-{n}"), namespace: "default".into() }
}

fn route(port: u16) -> Arc<Route> {
    Arc::new(Route::Endpoints(vec![Endpoint { address: ([127, 0, 0, 1], port).into() }]))
}

fn table(size: u64) -> Routes {
    (0..size).map(|n| (app(n), route(1))).collect()
}

#[test]
fn a_table_behaves_like_a_hash_map() {
    let (mut rng, mut model, mut routes) = (Rng::new(11), HashMap::new(), Routes::new());
    for _ in 0..20_000 {
        let (name, port) = (app(rng.below(600)), 1 + rng.below(3) as u16);
        if rng.below(2) == 0 {
            assert_eq!(model.remove(&name), routes.remove(&name));
        } else {
            assert_eq!(model.insert(name.clone(), route(port)), routes.insert(name, route(port)));
        }
        assert_eq!(model.len(), routes.len());
    }
    assert!(model.iter().all(|(name, route)| routes.get(name) == Some(route)));
    assert_eq!(routes.iter().count(), model.len());
    model.keys().for_each(|name| assert!(routes.remove(name).is_some()));
    assert!(routes.is_empty() && routes.root.is_none());
}

#[test]
fn names_with_the_same_hash_live_beside_each_other() {
    let mut node = Arc::new(Node::leaf(7, (app(1), route(1))));
    assert!(insert(&mut node, 0, 7, (app(2), route(2))).is_none());
    assert_eq!(insert(&mut node, 0, 7, (app(1), route(3))), Some(route(1)));
    remove(&mut node, 0, 7, &app(1));
    assert_eq!(node.lookup(0, 7, "app-2", "default"), Some(&route(2)));
    assert_eq!(node.lookup(0, 7, "app-1", "default"), None);
}

#[test]
fn hashes_that_differ_in_the_last_bits_only_part_at_the_last_level() {
    let mut node = Arc::new(Node::leaf(0, (app(1), route(1))));
    insert(&mut node, 0, 1 << 63, (app(2), route(2)));
    assert_eq!(node.lookup(0, 0, "app-1", "default"), Some(&route(1)));
    assert_eq!(node.lookup(0, 1 << 63, "app-2", "default"), Some(&route(2)));
    remove(&mut node, 0, 1 << 63, &app(2));
    assert!(matches!(*node, Node::Leaf { hash: 0, .. }));
}

#[test]
fn a_change_shares_all_but_a_few_nodes_with_the_table_before() {
    fn nodes(node: &Arc<Node>, all: &mut std::collections::HashSet<*const Node>) {
        all.insert(Arc::as_ptr(node));
        if let Node::Branch { children, .. } = &**node {
            children.iter().for_each(|child| nodes(child, all));
        }
    }
    let older = table(50_000);
    let mut newer = older.clone();
    newer.insert(app(77), route(2));
    let (mut before, mut after) = (Default::default(), Default::default());
    nodes(older.root.as_ref().unwrap(), &mut before);
    nodes(newer.root.as_ref().unwrap(), &mut after);
    let copied = after.difference(&before).count();
    assert!(copied <= 6, "{copied} of {} nodes were copied", after.len());
    assert_eq!(older.get(&app(77)), Some(&route(1)), "the older table is untouched");
}

#[test]
fn the_difference_of_two_tables_turns_one_into_the_other() {
    let mut rng = Rng::new(3);
    for size in [0, 1, 2, 40, 3000] {
        let older = table(size);
        let mut newer = older.clone();
        for _ in 0..20 {
            match rng.below(3) {
                0 => drop(newer.remove(&app(rng.below(size.max(1))))),
                1 => drop(newer.insert(app(rng.below(size.max(1))), route(9))),
                _ => drop(newer.insert(app(100_000 + rng.below(50)), route(9))),
            }
        }
        let changes = newer.changes_since(&older);
        assert!(changes.set.len() + changes.removed.len() <= 20);
        let mut patched = older.clone();
        patched.extend(changes.set);
        changes.removed.iter().for_each(|name| drop(patched.remove(name)));
        assert_eq!(patched, newer);
    }
}

#[test]
fn equal_tables_built_in_different_order_have_no_difference() {
    let forward = table(500);
    let backward: Routes = (0..500).rev().map(|n| (app(n), route(1))).collect();
    assert!(forward.changes_since(&backward).is_empty());
    assert_ne!(forward, table(499));
}
