use super::*;

fn answer(kind: Kind, text: &str) -> (u16, String) {
    let failure = Failure::new(kind, text);
    let mut body = Vec::new();
    failure.json(&mut body, "hv-callee");
    (failure.http_status(), String::from_utf8(body).unwrap())
}

#[test]
fn answers_are_daprds_where_daprd_has_them() {
    // vectors addressing/odd/root, access-control/…, errors/callee-without-app-port
    let missing = super::super::target::TargetError::NoAppId.to_string();
    let (status, body) = answer(Kind::NoTarget, &missing);
    assert_eq!(status, 404);
    assert_eq!(
        body,
        concat!(
            r#"{"errorCode":"ERR_DIRECT_INVOKE","message":"failed getting app id either from the URL path "#,
            r#"or the header dapr-app-id"}"#
        )
    );
    let status = Status { code: Code::PERMISSION_DENIED, message: "no".into() };
    assert_eq!(Failure::rpc(&status).http_status(), 403);
    let status = Status { code: Code::INTERNAL, message: "app channel is not initialized".into() };
    let failure = Failure::rpc(&status);
    assert_eq!(
        failure.message("hv-callee"),
        "failed to invoke, id: hv-callee, err: rpc error: code = Internal desc = app channel is not initialized"
    );
}

#[test]
fn limits_and_overload_have_statuses_of_their_own() {
    assert_eq!(Failure::new(Kind::RequestTooLarge, "").http_status(), 413);
    assert_eq!(Failure::new(Kind::RequestTooLarge, "").status().code, Code::RESOURCE_EXHAUSTED);
    let busy = Failure::new(Kind::Overloaded, "");
    assert_eq!((busy.http_status(), busy.retry_after()), (503, Some(1)));
    assert_eq!(Failure::new(Kind::NotFound, "").retry_after(), None);
    assert_eq!(Failure::new(Kind::Upgrade, "").http_status(), 501);
}

#[test]
fn attempts_are_told_in_daprds_words() {
    let status = Status { code: Code::UNAVAILABLE, message: "gone".into() };
    let failure = Failure::rpc(&status).after_retries("hv-callee", 3);
    assert_eq!(
        failure.text,
        "failed to invoke target hv-callee after 3 retries. Error: rpc error: code = Unavailable desc = gone"
    );
    assert_eq!(failure.http_status(), 500);
}

#[test]
fn a_callee_says_what_it_could_not_do() {
    let down = Failure::new(Kind::AppUnreachable, "Get \"http://127.0.0.1:1/x\": dial tcp");
    assert_eq!(down.status().message, "error invoking app channel: Get \"http://127.0.0.1:1/x\": dial tcp");
    let denied = Failure::new(Kind::Denied, "access control policy has denied access to id: x");
    assert_eq!(denied.status().code, Code::PERMISSION_DENIED);
    let rejected = Failure::new(Kind::MethodRejected, "method contains forbidden character: \"a#b\"");
    assert_eq!(rejected.status().code, Code::INVALID_ARGUMENT);
    assert_eq!(rejected.status().message, "invalid method: method contains forbidden character: \"a#b\"");
}

/// compat.md: the caller's own mistakes are neither retried nor do they open the breaker.
#[test]
fn own_mistakes_are_told_from_the_targets() {
    for kind in
        [Kind::NoTarget, Kind::MethodRejected, Kind::NotSendable, Kind::RequestTooLarge, Kind::ClientGone]
    {
        assert!(kind.is_own_mistake(), "{kind:?}");
    }
    for kind in
        [Kind::NotFound, Kind::Unreachable, Kind::Rpc(Code::INTERNAL), Kind::AppAnswer, Kind::Deadline]
    {
        assert!(!kind.is_own_mistake(), "{kind:?}");
    }
}

#[test]
fn texts_are_escaped_as_in_daprds_json() {
    let failure = Failure::new(Kind::NotFound, "couldn't find service: hv-<b>&\"'\\");
    let mut body = Vec::new();
    failure.json(&mut body, "hv-<b>&\"'\\");
    // vector errors/json/markup-in-id-and-method
    assert_eq!(
        String::from_utf8(body).unwrap(),
        concat!(
            r#"{"errorCode":"ERR_DIRECT_INVOKE","message":"failed to invoke, id: hv-\u003cb\u003e\u0026\"'\\, "#,
            r#"err: couldn't find service: hv-\u003cb\u003e\u0026\"'\\"}"#
        )
    );
}
