use super::*;

fn address(n: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], n))
}

fn balance(ports: &[u16]) -> Balance {
    let mut balance = Balance::default();
    balance.update(&endpoints(ports));
    balance
}

fn endpoints(ports: &[u16]) -> Vec<Endpoint> {
    ports.iter().map(|&p| Endpoint { address: address(p) }).collect()
}

fn at(seconds: u64) -> Tick {
    Tick::from_micros(seconds * 1_000_000)
}

#[test]
fn calls_go_round_robin() {
    let mut b = balance(&[1, 2, 3]);
    let picks: Vec<u16> = (0..6).filter_map(|_| b.pick(&[], at(0))).map(|a| a.port()).collect();
    assert_eq!(picks, [1, 2, 3, 1, 2, 3]);
}

#[test]
fn the_first_failure_ejects_an_endpoint_for_a_while() {
    let mut b = balance(&[1, 2]);
    b.failed(address(1), at(0));
    assert!((0..4).all(|_| b.pick(&[], at(1)) == Some(address(2))));
    let later: Vec<_> = (0..2).filter_map(|_| b.pick(&[], at(3))).collect();
    assert!(later.contains(&address(1)), "it comes back after its ejection");
}

#[test]
fn ejections_grow_with_failures_in_a_row_and_a_success_ends_them() {
    let mut b = balance(&[1, 2]);
    for _ in 0..10 {
        b.failed(address(1), at(0));
    }
    assert!((0..4).all(|_| b.pick(&[], at(29)) == Some(address(2))), "up to the longest ejection");
    assert!((0..2).any(|_| b.pick(&[], at(30)) == Some(address(1))), "and no longer");
    b.failed(address(1), at(40));
    b.succeeded(address(1));
    assert!((0..2).any(|_| b.pick(&[], at(40)) == Some(address(1))));
}

#[test]
fn an_app_with_one_endpoint_is_always_tried() {
    let mut b = balance(&[1]);
    b.failed(address(1), at(0));
    assert_eq!(b.pick(&[], at(0)), Some(address(1)));
    assert_eq!(b.pick(&[address(1)], at(0)), Some(address(1)));
    assert!(!b.has_fresh(&[], at(0)));
}

#[test]
fn a_retry_prefers_what_the_call_has_not_tried() {
    let mut b = balance(&[1, 2, 3]);
    assert_eq!(b.pick(&[address(1)], at(0)), Some(address(2)));
    b.failed(address(3), at(0));
    assert_eq!(b.pick(&[address(1), address(2)], at(0)), Some(address(3)), "even an ejected one");
}

#[test]
fn where_all_are_ejected_the_one_that_returns_first_is_picked() {
    let mut b = balance(&[1, 2]);
    b.failed(address(2), at(0));
    b.failed(address(1), at(1));
    assert_eq!(b.pick(&[], at(1)), Some(address(2)));
}

#[test]
fn an_update_keeps_what_is_known_about_addresses_that_stay() {
    let mut b = balance(&[1, 2]);
    b.failed(address(2), at(0));
    b.update(&endpoints(&[2, 3]));
    assert!((0..3).all(|_| b.pick(&[], at(1)) == Some(address(3))));
    b.update(&[]);
    assert_eq!(b.pick(&[], at(1)), None);
}

#[test]
fn health_tells_who_is_ejected() {
    let mut b = balance(&[1, 2]);
    b.failed(address(2), at(0));
    let ejected: Vec<_> = b.health(at(1)).map(|h| (h.address.port(), h.failures, h.ejected)).collect();
    assert_eq!(ejected, [(1, 0, false), (2, 1, true)]);
}
