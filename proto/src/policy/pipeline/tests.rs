use super::rate::{Buckets, MOST_BUCKETS, Rate};
use super::*;
use crate::time::Tick;
use core::time::Duration;

fn alias(routes: &[(&str, &str)]) -> Middleware {
    let routes = routes.iter().map(|(path, target)| ((*path).to_owned(), (*target).to_owned()));
    Middleware::RouterAlias { routes: routes.collect() }
}

fn checker(rule: &str) -> Middleware {
    Middleware::RouterChecker { rule: rule.into() }
}

/// A world with tokens left, or without.
struct World(Option<u32>);

impl Means for World {
    fn take(&self, _handler: usize, _rate: Rate, _path: &str) -> Option<u32> {
        self.0
    }

    fn now(&self) -> u64 {
        0
    }

    fn verifies(&self, _signed: Signed<'_>) -> bool {
        true
    }
}

fn run(middleware: &[Middleware], path: &str, query: &str) -> Passed {
    let pipeline = Pipeline::new(middleware.to_vec()).unwrap();
    pipeline.run(&Called { path, query, shown: Shown::Nothing }, &World(Some(1)))
}

fn changed(path: &str, query: &str) -> Option<Changed> {
    Some(Changed { path: path.into(), query: query.into() })
}

/// As a daprd answered the same settings and requests.
#[test]
fn an_alias_stands_for_its_target_and_its_variables_go_behind_the_query() {
    let routes = [("/short/{id}", "/long"), ("/plain", "/other"), ("/re/{n:[0-9]{1,2}}/x", "/re")];
    let aliases = [alias(&routes)];
    assert_eq!(run(&aliases, "/plain", "a=b").changed, changed("/other", "a=b"));
    assert_eq!(run(&aliases, "/short/7", "a=b").changed, changed("/long", "a=b&id=7"));
    assert_eq!(run(&aliases, "/short/7 x&", "").changed, changed("/long", "id=7+x%26"));
    assert_eq!(run(&aliases, "/re/12/x", "").changed, changed("/re", "n=12"));
    for path in ["/short/7/8", "/short/", "/re/123/x", "/plain/", "/x/plain"] {
        assert_eq!(run(&aliases, path, "").changed, None, "{path}");
    }
}

#[test]
fn a_plain_alias_wins_over_a_pattern() {
    let aliases = [alias(&[("/a/{x}", "/pattern"), ("/a/b", "/plain")])];
    assert_eq!(run(&aliases, "/a/b", "").changed, changed("/plain", ""));
}

#[test]
fn a_rule_sees_path_and_query_after_the_aliases_before_it() {
    let rule = checker(r"^/ok(/|\?x=\d$)");
    assert_eq!(run(std::slice::from_ref(&rule), "/ok/a", "").refusal, None);
    assert_eq!(run(std::slice::from_ref(&rule), "/ok", "x=1").refusal, None);
    assert_eq!(run(std::slice::from_ref(&rule), "/ok", "x=\u{663}").refusal, Some(Refusal::BadRoute));
    assert_eq!(run(std::slice::from_ref(&rule), "/bad", "").refusal, Some(Refusal::BadRoute));
    let first = [alias(&[("/bad", "/ok/then")]), rule.clone()];
    assert_eq!(run(&first, "/bad", "").refusal, None);
    let last = [rule, alias(&[("/bad", "/ok/then")])];
    assert_eq!(run(&last, "/bad", ""), Passed { refusal: Some(Refusal::BadRoute), ..Passed::default() });
}

#[test]
fn what_handlers_do_to_bodies_adds_up_as_far_as_the_request_goes() {
    let upper = |request, response| Middleware::Uppercase(Bodies { request, response });
    let both = Bodies { request: true, response: true };
    let all = [upper(true, false), upper(false, true)];
    assert_eq!(run(&all, "/", "").uppercase, both);
    let passed = run(&[upper(false, true), checker("x"), upper(true, false)], "/", "");
    assert_eq!(
        (passed.refusal, passed.uppercase),
        (Some(Refusal::BadRoute), Bodies { request: false, ..both })
    );
}

#[test]
fn without_keys_no_token_is_taken_and_its_absence_is_told() {
    let bearer = |keys| Bearer { issuer: "i".into(), audience: "a".into(), keys };
    let refusal = |keys: Option<Vec<keys::VerifyKey>>, shown| {
        let pipeline = Pipeline::new(vec![Middleware::Bearer(bearer(keys.map(Into::into)))]).unwrap();
        pipeline.run(&Called { path: "/", query: "", shown }, &World(None)).refusal
    };
    let shown = Shown::One(b"Bearer e30.e30.");
    assert_eq!(refusal(None, Shown::Nothing), Some(Refusal::BadToken(BadToken::Missing)));
    assert_eq!(refusal(None, Shown::Several), Some(Refusal::BadToken(BadToken::Missing)));
    assert_eq!(refusal(None, shown), Some(Refusal::NoKeys));
    assert_eq!(refusal(Some(vec![]), shown), Some(Refusal::BadToken(BadToken::Malformed)));
    assert_eq!((Refusal::NoKeys.status(), Refusal::BadToken(BadToken::Key).status()), (503, 401));
}

#[test]
fn handlers_see_paths_decoded_and_cleaned() {
    for (raw, wanted) in [
        ("/a/b", "/a/b"),
        ("//a///b/", "/a/b"),
        ("/ok/../secret", "/secret"),
        ("/ok/%2e%2e/secret", "/secret"),
        ("/%61", "/a"),
        ("", "/"),
        ("*", "/*"),
    ] {
        assert_eq!(seen(raw).trim_end_matches(|c| c == '/' && raw.len() > 1), wanted, "{raw}");
    }
}

#[test]
fn a_bucket_holds_a_second_and_fills_again() {
    let (mut buckets, rate) = (Buckets::default(), Rate::new(2.0).unwrap());
    let begin = Tick::from_micros(5);
    assert_eq!(buckets.take(1, rate, begin), Some(1));
    assert_eq!(buckets.take(1, rate, begin), Some(0));
    assert_eq!(buckets.take(1, rate, begin), None);
    assert_eq!(buckets.take(2, rate, begin), Some(1), "another client or path");
    assert_eq!(buckets.take(1, rate, begin + Duration::from_millis(499)), None);
    assert_eq!(buckets.take(1, rate, begin + Duration::from_millis(501)), Some(0));
    let slow = Rate::new(0.5).unwrap();
    assert_eq!(
        buckets.take(3, slow, begin),
        Some(0),
        "one at once even where less than one a second is let in"
    );
    assert_eq!(buckets.take(3, slow, begin + Duration::from_secs(1)), None);
    assert_eq!(buckets.take(3, slow, begin + Duration::from_secs(2)), Some(0));
}

#[test]
fn the_table_is_bounded_and_an_empty_bucket_is_kept_longest() {
    let (mut buckets, rate) = (Buckets::default(), Rate::new(2.0).unwrap());
    let now = Tick::from_micros(0);
    let (_, _) = (buckets.take(0, rate, now), buckets.take(0, rate, now));
    for key in 1..=2 * MOST_BUCKETS as u64 {
        assert_eq!(buckets.take(key, rate, now), Some(1));
    }
    assert_eq!(buckets.take(0, rate, now), None);
    let printed = format!("{buckets:?}").matches("tokens").count();
    assert_eq!(printed, MOST_BUCKETS);
}

#[test]
fn an_answer_tells_of_a_limit_as_daprds_does() {
    let limit = Middleware::RateLimit { max_per_second: 2.0 };
    let pipeline = Pipeline::new(vec![limit, checker("nothing")]).unwrap();
    let called = Called { path: "/a", query: "", shown: Shown::Nothing };
    let passed = pipeline.run(&called, &World(None));
    assert_eq!(passed.refusal, Some(Refusal::TooMany));
    let lines = passed.said[0].lines().map(|(name, value)| format!("{name}: {value}"));
    assert_eq!(
        lines,
        [
            "X-Rate-Limit-Limit: 2.00",
            "X-Rate-Limit-Duration: 1",
            "Ratelimit-Limit: 2",
            "Ratelimit-Reset: 1",
            "Ratelimit-Remaining: 0"
        ]
    );
    assert_eq!(pipeline.run(&called, &World(Some(1))).refusal, Some(Refusal::BadRoute));
}

#[test]
fn settings_that_no_handler_can_be_made_of_are_named() {
    for (middleware, why) in [
        (checker("("), "rule \"(\": "),
        (checker("a{1000}{1000}"), "when it is compiled"),
        (Middleware::RateLimit { max_per_second: 0.0 }, "must be a positive value"),
        (Middleware::RateLimit { max_per_second: f64::NAN }, "must be a positive value"),
        (
            Middleware::Bearer(Bearer { issuer: "".into(), audience: "a".into(), keys: None }),
            "'issuer' is required",
        ),
        (alias(&[("a", "/b")]), "a path begins with a slash"),
        (alias(&[("/a", "b")]), "expected a path with a leading slash"),
        (alias(&[("/a", "/b?x=1")]), "without ?, # and %"),
        (alias(&[("/{a", "/b")]), "a brace is not closed"),
        (alias(&[("/a}", "/b")]), "a brace is not opened"),
        (alias(&[("/{}", "/b")]), "expected {name} or {name:pattern}"),
        (alias(&[("/{a:(}", "/b")]), "route \"/{a:(}\": "),
    ] {
        let error = Pipeline::new(vec![middleware]).unwrap_err();
        assert!(error.contains(why), "{error}");
    }
}
