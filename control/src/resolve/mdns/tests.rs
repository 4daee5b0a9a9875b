//! The recordings of a real daprd, and two of ours on the loopback interface.

use super::packet::{self, Instance};
use super::sighting::sightings;
use super::*;
use serde_json::Value;
use simple_dns::Packet;

fn vectors(file: &str) -> Vec<Value> {
    let path = format!("{}/../tests/vectors/mdns/{file}.jsonl", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
    text.lines().map(|l| serde_json::from_str(l).unwrap()).collect()
}

fn bytes(hex: &Value) -> Vec<u8> {
    let hex = hex.as_str().unwrap();
    (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect()
}

/// The recorded sidecar: app `gv-m1` on `gv-host`, with the pid that its packets carry.
fn recorded(packet: &[u8]) -> Instance {
    let text = String::from_utf8_lossy(packet).into_owned();
    let pid: String =
        text.split("gv-host:").nth(1).unwrap().chars().take_while(char::is_ascii_digit).collect();
    let address = [10, 77, 0, 1].into();
    Instance {
        app_id: "gv-m1".into(),
        host: "gv-host".into(),
        pid: pid.parse().unwrap(),
        port: 46303,
        address,
    }
}

#[test]
fn what_is_sent_unasked_equals_the_recording() {
    let all = vectors("other");
    let of =
        |name: &str| all.iter().find(|v| v["name"] == name).unwrap()["packets"].as_array().unwrap().clone();
    let mut kinds = [0; 3];
    for sent in of("register").iter().chain(&of("goodbye")) {
        let want = bytes(&sent["hex"]);
        let own = recorded(&want);
        let header = Packet::parse(&want).unwrap();
        let (kind, made) = match (header.answers.is_empty(), header.answers.first().map(|r| r.ttl)) {
            (true, _) => (0, packet::probe(&own, header.id())),
            (_, Some(0)) => (1, packet::goodbye(&own)),
            _ => (2, packet::announcement(&own)),
        };
        kinds[kind] += 1;
        assert_same_records(&made.unwrap(), &want);
    }
    assert!(kinds.iter().all(|n| *n > 0), "probe, goodbye and announcement: {kinds:?}");
}

#[test]
fn questions_are_answered_as_recorded() {
    for case in vectors("ask") {
        let name = case["name"].as_str().unwrap();
        let want: Vec<(Vec<u8>, bool)> = answers(&case, "multicast_answers", false)
            .chain(answers(&case, "unicast_answers", true))
            .collect();
        let own = want
            .first()
            .filter(|(p, _)| contains(p, b"gv-host:"))
            .map(|(p, _)| recorded(p))
            .unwrap_or_else(fallback);
        let own = match contains(&bytes(&case["question"]["hex"]), b"gv-host:") {
            true => recorded(&bytes(&case["question"]["hex"])),
            false => own,
        };
        let got = packet::replies(&own, &bytes(&case["question"]["hex"]));
        assert_eq!(got.len(), want.len(), "{name}");
        for (got, (want, unicast)) in got.iter().zip(&want) {
            assert_same_records(&got.bytes, want);
            assert_eq!(got.unicast, *unicast, "{name}");
        }
    }
}

fn fallback() -> Instance {
    Instance {
        app_id: "gv-m1".into(),
        host: "gv-host".into(),
        pid: 1,
        port: 46303,
        address: [10, 77, 0, 1].into(),
    }
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|w| w == needle)
}

/// The recorded answers of the IPv4 socket; the IPv6 copies are the same bytes.
fn answers<'a>(case: &'a Value, key: &str, unicast: bool) -> impl Iterator<Item = (Vec<u8>, bool)> + 'a {
    let v4 = |a: &&Value| a["ip"].is_null() || a["ip"] == 4;
    case[key]
        .as_array()
        .unwrap()
        .iter()
        .filter(v4)
        .map(move |a| (bytes(&a["hex"]), unicast))
        .collect::<Vec<_>>()
        .into_iter()
}

/// Equal headers and records; compression is the encoder's own affair.
fn assert_same_records(got: &[u8], want: &[u8]) {
    let (got, want) = (Packet::parse(got).unwrap(), Packet::parse(want).unwrap());
    assert_eq!(format!("{got:?}"), format!("{want:?}"));
}

#[test]
fn answers_are_accepted_as_daprd_accepts_them() {
    // the app is reachable by IPv6 with us; daprd builds an address that it cannot dial
    let better = ["accept/a-and-aaaa", "accept/aaaa-only"];
    let mut seen = 0;
    for case in vectors("accept") {
        let (name, app) = (case["name"].as_str().unwrap(), case["target"].as_str().unwrap());
        let packets = case["answered"].as_array().unwrap();
        let found: Vec<_> =
            packets.iter().flat_map(|p| sightings(app, &bytes(&p["hex"]))).filter(|s| !s.gone).collect();
        let want = case["accepted"] == true || better.contains(&name);
        assert_eq!(!found.is_empty(), want, "{name}: {found:?}");
        seen += 1;
    }
    assert!(seen > 20);
}

/// Two sidecars of one machine with nothing but loopback: the first is found, a second joins, a goodbye counts at once.
#[tokio::test]
async fn two_sidecars_on_loopback_find_each_other_and_a_goodbye_counts_at_once() {
    let (Ok(callee), Ok(caller)) = (Mdns::start(Scope::Loopback), Mdns::start(Scope::Loopback)) else {
        eprintln!("SKIPPED: no multicast on the loopback interface here");
        return;
    };
    let app = format!("found-{}", std::process::id());
    let own = Instance {
        app_id: app.clone(),
        host: "h".into(),
        pid: 1,
        port: 4100,
        address: [127, 0, 0, 1].into(),
    };
    let mut changes = caller.changes();
    callee.present(own);
    assert_eq!(caller.look(&app, Duration::from_secs(10)).await, [([127, 0, 0, 1], 4100).into()]);
    callee.say_goodbye().await;
    let gone = changes.wait_for(|_| caller.seen(&app).is_empty());
    tokio::time::timeout(Duration::from_secs(10), gone).await.expect("the goodbye arrives").unwrap();
    assert!(caller.look(&app, Duration::from_millis(200)).await.is_empty(), "nobody answers any more");
}
