//! Control's end against a data plane of the test's own, over real sockets.

use super::*;
use crate::process::testing::{DataPlane, Ground, app, until};
use proto::control::session::Heard;
use proto::control::{Ack, Attached, FromDataplane, Report, from_control, from_dataplane};
use proto::snapshot::{Api, Route};
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;

fn ground(table: &str) -> Ground {
    let ground = Ground::new(table);
    let listener = listen(&ground.socket()).unwrap();
    tokio::spawn(serve(listener, Arc::clone(&ground.house)));
    ground
}

#[tokio::test]
async fn a_data_plane_gets_the_whole_snapshot_and_every_change() {
    let ground = ground("");
    let mut plane = DataPlane::connect(&ground).await;
    plane.settle().await;
    let current = plane.subscriber.current();
    assert_eq!((current.workload.app_id.as_str(), current.version), ("orders", 1));
    assert_eq!(current.app.as_ref().unwrap().max_concurrency, None);
    ground
        .house
        .picture
        .change(|next| next.api = Arc::new(Api { token: Some("t".into()), tracing: true, ..Api::default() }));
    plane.settle().await;
    assert_eq!(plane.subscriber.current().api.token.as_deref(), Some("t"));
    until(|| ground.house.planes.newest().is_some_and(|plane| plane.applied == 2)).await;
}

#[tokio::test]
async fn the_socket_is_for_its_owner_only_and_takes_the_place_of_a_dead_one() {
    let ground = Ground::new("");
    drop(listen(&ground.socket()).unwrap());
    let _again = listen(&ground.socket()).unwrap();
    let mode = std::fs::metadata(ground.socket()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn a_name_that_is_found_enters_the_snapshot_before_its_answer() {
    let ground = ground("stock 10.0.0.1:7 10.0.0.2:7");
    let mut plane = DataPlane::connect(&ground).await;
    plane.settle().await;
    plane.ask("stock").await;
    let (target, route) = plane.resolved().await;
    assert_eq!(target, app("stock"));
    assert!(matches!(&*route, Route::Endpoints(found) if found.len() == 2));
    assert_eq!(plane.subscriber.current().routes.get(&app("stock")), Some(&route));
    plane.ask("stock").await;
    assert_eq!(plane.resolved().await, (app("stock"), route), "asked again, answered again");
}

#[tokio::test]
async fn what_clients_attached_is_told_to_the_next_data_plane_before_its_first_snapshot() {
    let ground = ground("");
    let mut plane = DataPlane::connect(&ground).await;
    plane.settle().await;
    plane.say(&FromDataplane::attached(Attached::of([("a", "1"), ("b", "1")]))).await;
    plane.say(&FromDataplane::attached(Attached::of([("b", "2")]))).await;
    until(|| ground.house.attached().is_some_and(|kept| kept.iter().any(|entry| entry == ("b", "2")))).await;
    drop(plane);
    let mut next = DataPlane::connect(&ground).await;
    let Heard::Attached(attached) = next.hear().await else { panic!("something else first") };
    assert_eq!(attached.iter().collect::<Vec<_>>(), [("a", "1"), ("b", "2")]);
    next.settle().await;
}

#[tokio::test]
async fn a_name_that_nobody_knows_is_answered_with_what_each_way_said() {
    let ground = ground("stock 10.0.0.1:7");
    let mut plane = DataPlane::connect(&ground).await;
    plane.settle().await;
    plane.ask("ghost").await;
    let (target, route) = plane.resolved().await;
    assert_eq!(target, app("ghost"));
    assert!(matches!(&*route, Route::NotFound { tried } if tried.len() == 1 && tried[0].way == "table"));
    assert!(plane.subscriber.current().routes.is_empty());
}

#[tokio::test]
async fn a_refusal_is_kept_for_status_and_the_next_version_is_tried() {
    let ground = ground("");
    let mut plane = DataPlane::connect(&ground).await;
    let Heard::Candidate(candidate) = plane.hear().await else { panic!("no snapshot") };
    let nack = plane.subscriber.refuse(candidate, vec!["not like this".into()]);
    plane.say(&nack).await;
    let refused = || ground.house.planes.newest().is_some_and(|plane| plane.refused == "not like this");
    until(refused).await;
    assert!(!*ground.house.present.borrow(), "a sidecar that does not serve is not to be found");
    ground
        .house
        .picture
        .change(|next| next.api = Arc::new(Api { token: Some("t".into()), tracing: true, ..Api::default() }));
    plane.settle().await;
    until(|| ground.house.planes.newest().is_some_and(|plane| plane.refused.is_empty())).await;
}

#[tokio::test]
async fn versions_go_on_above_what_is_served_since_before_control_was_restarted() {
    let before = ground("");
    let mut plane = DataPlane::connect(&before).await;
    plane.settle().await;
    for n in 0..5 {
        before.house.picture.change(|next| {
            next.api = Arc::new(Api { token: Some(format!("t{n}")), tracing: true, ..Api::default() });
        });
        plane.settle().await;
    }
    assert_eq!(plane.subscriber.current().version, 6);
    let after = ground("");
    let mut again = DataPlane::silent(&after).await;
    again.subscriber = plane.subscriber;
    again.hello().await;
    again.settle().await;
    assert_eq!(again.subscriber.current().version, 7);
}

#[tokio::test]
async fn a_sidecar_is_found_once_it_serves_and_until_it_drains() {
    let ground = ground("");
    let mut present = ground.house.present.subscribe();
    let mut plane = DataPlane::connect(&ground).await;
    plane.settle().await;
    present.wait_for(|present| *present).await.unwrap();
    plane.say(&FromDataplane::draining(Duration::from_secs(5))).await;
    present.wait_for(|present| !*present).await.unwrap();
    ground.house.picture.change(|next| next.api = Arc::default());
    plane.settle().await;
    until(|| ground.house.planes.newest().is_some_and(|plane| plane.applied == 2)).await;
    assert!(!*present.borrow(), "an answer does not bring the name back");
    let mut next = DataPlane::connect(&ground).await;
    next.settle().await;
    present.wait_for(|present| *present).await.unwrap();
}

#[tokio::test]
async fn those_who_ask_for_numbers_at_the_same_time_share_one_question() {
    let ground = ground("");
    let mut plane = DataPlane::connect(&ground).await;
    plane.settle().await;
    let house = Arc::clone(&ground.house);
    let asking = tokio::spawn(async move { tokio::join!(house.planes.collect(), house.planes.collect()) });
    let report = Report { warnings: vec!["w".into()], lost: 3, ..Report::default() };
    plane.report(report).await;
    let (a, b) = asking.await.unwrap();
    let (a, b) = (a.unwrap(), b.unwrap());
    assert!(Arc::ptr_eq(&a, &b));
    assert_eq!((a.id, a.lost), (1, 3));
}

#[tokio::test]
async fn nobody_waits_for_numbers_of_a_data_plane_that_is_not_there() {
    let ground = ground("");
    assert!(ground.house.planes.collect().await.is_none());
}

#[tokio::test]
async fn a_data_plane_that_breaks_the_protocol_is_told_why_and_left() {
    let ground = ground("");
    let mut rude = DataPlane::silent(&ground).await;
    rude.say(&FromDataplane { message: Some(from_dataplane::Message::Ack(Ack { version: 1 })) }).await;
    let Some(from_control::Message::Refusal(refusal)) = rude.message().await.unwrap().message else {
        panic!("no refusal")
    };
    assert_eq!(refusal.reasons, ["the first message is not Hello"]);
    assert!(rude.message().await.is_none());
    let mut noisy = DataPlane::silent(&ground).await;
    noisy.stream.write_all(&[0xff; 32]).await.unwrap();
    assert!(
        noisy.message().await.is_some_and(|m| matches!(m.message, Some(from_control::Message::Refusal(_))))
    );
    let mut good = DataPlane::connect(&ground).await;
    good.settle().await;
}

#[tokio::test]
async fn a_data_plane_too_many_is_turned_away() {
    let ground = ground("");
    let mut all = Vec::new();
    for _ in 0..MAX_PLANES {
        let mut plane = DataPlane::connect(&ground).await;
        plane.settle().await;
        all.push(plane);
    }
    let mut extra = DataPlane::connect(&ground).await;
    let Heard::Dismissed { reasons } = extra.hear().await else { panic!("taken") };
    assert_eq!(reasons, ["there are too many data planes"]);
    drop(all.pop());
    until(|| ground.house.planes.newest().is_some()).await;
    let gone = async {
        loop {
            let mut next = DataPlane::connect(&ground).await;
            if matches!(next.hear().await, Heard::Candidate(_)) {
                return;
            }
        }
    };
    tokio::time::timeout(crate::process::testing::PATIENCE, gone).await.expect("a place is free again");
}
