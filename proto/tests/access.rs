//! What must hold for any SPIFFE ID and any access-control list, tried with seeded random ones; `SEED` repeats them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // in a test, a panic is the finding

use proto::policy::acl::{Acl, Action, Caller, Operation, OperationRule, Policy, Rules, authorize};
use proto::rng::Rng;
use proto::spiffe::{MAX_URI, SpiffeId, SpiffeUri};

const SEED: u64 = 20_261_124;

fn text(rng: &mut Rng, alphabet: &[&str], most: u64) -> String {
    let one = |rng: &mut Rng| alphabet[usize::try_from(rng.below(alphabet.len() as u64)).unwrap()];
    (0..rng.below(most + 1)).map(|_| one(rng)).collect()
}

#[test]
fn an_id_that_is_read_is_written_alike() {
    let alphabet = ["/", "ns", "a", "B", ".", "-", "_", "public", "é", "%", "\0", ":", "@", "spiffe://"];
    let (mut rng, mut read) = (Rng::new(SEED), 0);
    for _ in 0..50_000 {
        let tail = text(&mut rng, &alphabet, 8);
        let text = if rng.below(2) == 0 { format!("spiffe://td/ns/{tail}") } else { tail };
        let Ok(uri) = SpiffeUri::parse(&text) else { continue };
        assert_eq!(uri.to_string(), text);
        assert!(text.len() <= MAX_URI && text.bytes().all(|b| b.is_ascii_graphic()));
        let Ok(id) = uri.workload() else { continue };
        read += 1;
        assert!(text.starts_with(&id.to_string()) && uri.path().starts_with(&id.path()), "{text}");
        assert_eq!(SpiffeId::new(&id.trust_domain, &id.namespace, &id.app_id).as_ref(), Ok(&id));
    }
    assert!(read > 100, "{read}");
}

/// One policy whose rules all do the same, which is the default as well.
fn list(names: &[String], action: Action, http: bool) -> Acl {
    let rule = |name: &String| OperationRule { name: name.clone(), verbs: vec!["*".into()], action };
    let policy = Policy {
        app_id: "a".into(),
        namespace: "n".into(),
        trust_domain: "t".into(),
        default_action: Some(action),
        operations: names.iter().map(rule).collect(),
    };
    Acl::new(Rules { default_action: Some(action), policies: vec![policy] }, http).unwrap()
}

#[test]
fn a_list_without_allow_permits_nothing_and_one_without_deny_everything() {
    let alphabet = ["/", "/", "*", "**", "a", "B", "é", "\u{130}", " ", "x*", "%2F"];
    let (mut rng, id) = (Rng::new(SEED), SpiffeId::new("t", "n", "a").unwrap());
    for _ in 0..20_000 {
        let names: Vec<String> = (0..rng.below(6)).map(|_| text(&mut rng, &alphabet, 6)).collect();
        let (method, http) = (text(&mut rng, &alphabet, 6), rng.below(2) == 0);
        let operation = Operation { method: &method, verb: "GET", http };
        for action in [Action::Allow, Action::Deny] {
            let acl = list(&names, action, http);
            drop(acl.findings(http, true));
            let permitted = authorize(&acl, Caller::Peer(&id), operation).is_ok();
            assert_eq!(permitted, action == Action::Allow, "{names:?} {method:?}");
        }
    }
}

#[test]
fn a_literal_rule_that_is_not_hidden_decides_about_its_own_path_and_all_beneath() {
    let alphabet = ["/a", "/b", "/C", "/*", "/**", "/a*", "/d"];
    let (mut rng, id, mut decided) = (Rng::new(SEED), SpiffeId::new("t", "n", "a").unwrap(), 0);
    for _ in 0..20_000 {
        let names: Vec<String> = (0..4).map(|_| format!("/x{}", text(&mut rng, &alphabet, 3))).collect();
        let mut rules = list(&names, Action::Deny, true).rules().clone();
        rules.policies[0].operations[3].action = Action::Allow;
        let acl = Acl::new(rules, true).unwrap();
        let name = &names[3];
        let hidden =
            acl.findings(true, true).iter().any(|f| f.contains(&format!("operation {name:?} never")));
        if name.contains('*') || hidden {
            continue;
        }
        decided += 1;
        for method in [name.clone(), format!("{name}/below/it")] {
            let allowed = authorize(&acl, Caller::Peer(&id), Operation::http(&method, "GET"));
            assert!(allowed.is_ok(), "{names:?} {method:?}");
        }
    }
    assert!(decided > 1000, "{decided}");
}
