//! `--allowed-origins`: what scripts of other origins are told (spec/invocation 1.15; vectors cors/).
//!
//! ```
//! use proto::api::cors::Origins;
//!
//! let origins = Origins::parse("http://good.test, http://*.example.org");
//! let lines = origins.lines(Some(b"http://good.test"), "GET");
//! assert_eq!(lines, [("Vary", &b"Origin"[..]), ("Access-Control-Allow-Origin", &b"http://good.test"[..])]);
//! assert_eq!(origins.lines(Some(b"http://bad.test"), "GET").len(), 1);
//! assert!(Origins::parse("").lines(Some(b"http://good.test"), "GET").is_empty());
//! ```

/// Header lines of an answer.
pub type Lines<'a> = Vec<(&'static str, &'a [u8])>;

const ORIGIN: &str = "Access-Control-Allow-Origin";

/// Verbs that scripts may use; OPTIONS always.
const VERBS: [&str; 7] = ["HEAD", "GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// The allowed origins. None: CORS is the apps' affair.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origins(Vec<String>);

/// What a browser asks before it lets a script send a request.
#[derive(Clone, Copy, Debug)]
pub struct Preflight<'a> {
    /// `Origin`.
    pub origin: Option<&'a [u8]>,
    /// `Access-Control-Request-Method`; not empty.
    pub verb: &'a [u8],
    /// `Access-Control-Request-Headers`.
    pub headers: Option<&'a [u8]>,
}

impl Origins {
    /// Reads the flag: origins separated by commas, `*` for any, one `*` inside an origin for any text.
    pub fn parse(list: &str) -> Origins {
        Origins::of(list.split(',').map(str::to_owned))
    }

    /// These origins; empty ones do not count.
    pub fn of(origins: impl IntoIterator<Item = String>) -> Origins {
        let clean = origins.into_iter().map(|origin| origin.trim().to_ascii_lowercase());
        Origins(clean.filter(|origin| !origin.is_empty()).collect())
    }

    /// The origins, in lower case.
    pub fn list(&self) -> &[String] {
        &self.0
    }

    /// Whether there are any.
    pub fn is_on(&self) -> bool {
        !self.0.is_empty()
    }

    /// The lines that every answer to such a request carries.
    pub fn lines<'a>(&self, origin: Option<&'a [u8]>, verb: &str) -> Lines<'a> {
        if !self.is_on() {
            return Vec::new();
        }
        let mut lines: Lines<'a> = vec![("Vary", b"Origin")];
        lines.extend(self.allowed(origin).filter(|_| VERBS.contains(&verb)).map(|told| (ORIGIN, told)));
        lines
    }

    /// The lines of the answer to a preflight, which is 200 whatever it says.
    pub fn preflight<'a>(&self, asked: &Preflight<'a>) -> Lines<'a> {
        let mut lines: Lines<'a> = vec![
            ("Vary", b"Origin"),
            ("Vary", b"Access-Control-Request-Method"),
            ("Vary", b"Access-Control-Request-Headers"),
        ];
        let allowed = VERBS.iter().any(|verb| verb.as_bytes().eq_ignore_ascii_case(asked.verb));
        let Some(origin) = self.allowed(asked.origin).filter(|_| allowed) else { return lines };
        lines.push((ORIGIN, origin));
        lines.push(("Access-Control-Allow-Methods", asked.verb));
        if let Some(headers) = asked.headers.filter(|headers| !headers.is_empty()) {
            lines.push(("Access-Control-Allow-Headers", headers));
        }
        lines
    }

    /// What an allowed origin is told.
    fn allowed<'a>(&self, origin: Option<&'a [u8]>) -> Option<&'a [u8]> {
        let origin = origin.filter(|origin| !origin.is_empty())?;
        if self.0.iter().any(|allowed| allowed == "*") {
            return Some(b"*");
        }
        self.0.iter().any(|allowed| matches(allowed, origin)).then_some(origin)
    }
}

fn matches(allowed: &str, origin: &[u8]) -> bool {
    let lower = origin.to_ascii_lowercase();
    match allowed.split_once('*') {
        None => allowed.as_bytes() == lower,
        Some((before, after)) => {
            lower.len() >= before.len() + after.len()
                && lower.starts_with(before.as_bytes())
                && lower.ends_with(after.as_bytes())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn preflight<'a>(origin: &'a [u8], verb: &'a [u8]) -> Preflight<'a> {
        Preflight { origin: Some(origin), verb, headers: Some(b"X-A") }
    }

    #[test]
    fn any_origin_is_told_so() {
        assert_eq!(Origins::parse("*").lines(Some(b"null"), "GET").last(), Some(&(ORIGIN, &b"*"[..])));
    }

    #[test]
    fn an_origin_may_hold_a_star_and_its_case_does_not_count() {
        let origins = Origins::parse("http://*.Example.org");
        assert_eq!(origins.lines(Some(b"http://a.EXAMPLE.org"), "GET").len(), 2);
        assert_eq!(origins.lines(Some(b"http://.example.or"), "GET").len(), 1);
        assert_eq!(origins.lines(None, "GET").len(), 1);
    }

    #[test]
    fn a_preflight_allows_what_was_asked_for_or_nothing() {
        let origins = Origins::parse("http://good.test");
        assert_eq!(origins.preflight(&preflight(b"http://good.test", b"POST")).len(), 6);
        assert_eq!(origins.preflight(&preflight(b"http://good.test", b"TRACE")).len(), 3);
        assert_eq!(origins.preflight(&preflight(b"http://bad.test", b"POST")).len(), 3);
    }
}
