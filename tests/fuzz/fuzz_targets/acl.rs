//! Access-control lists: no panic; a list that allows nothing permits nothing, one that denies nothing refuses nothing.
#![no_main]

use libfuzzer_sys::fuzz_target;
use proto::policy::acl::{Acl, Action, Caller, Operation, OperationRule, Policy, Rules, authorize};
use proto::spiffe::SpiffeId;

/// One policy with a rule a line, all with the same action, which is the default as well.
fn list(lines: &[&str], action: Action, http: bool) -> Acl {
    let rule = |line: &&str| OperationRule { name: (*line).to_owned(), verbs: vec!["*".to_owned()], action };
    let policy = Policy {
        app_id: "a".to_owned(),
        namespace: "n".to_owned(),
        trust_domain: "t".to_owned(),
        default_action: Some(action),
        operations: lines.iter().map(rule).collect(),
    };
    Acl::new(Rules { default_action: Some(action), policies: vec![policy] }, http).unwrap()
}

fuzz_target!(|input: (&str, bool)| {
    let (text, http) = input;
    let mut lines: Vec<&str> = text.lines().collect();
    let method = lines.pop().unwrap_or_default();
    let id = SpiffeId::new("t", "n", "a").unwrap();
    let operation = Operation { method, verb: "GET", http };
    for action in [Action::Allow, Action::Deny] {
        let acl = list(&lines, action, http);
        drop(acl.findings(http, true));
        let permitted = authorize(&acl, Caller::Peer(&id), operation).is_ok();
        assert_eq!(permitted, action == Action::Allow);
    }
});
