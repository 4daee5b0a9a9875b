//! Who is called: the forms of address of the HTTP API (spec/invocation 1.4, vectors addressing/…).

use super::{escape, method};
use crate::grpc::base64;
use crate::http1::head::Headers;
use crate::http1::names::Known;
use crate::snapshot::AppRef;
use core::fmt;
use std::borrow::Cow;

/// A request target in its parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path<'a> {
    /// The path as received, percent-encoded; empty for a bare authority, `*` for `OPTIONS *`.
    pub raw: &'a str,
    /// The query without `?`; empty when absent. A fragment, which has no place here, is cut off.
    pub query: &'a str,
}

/// A request target that is none: 400, and the connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// Takes a request target apart: origin form, absolute form (the authority is ignored), authority form of CONNECT,
/// `*`.
///
/// # Errors
/// Anything else.
pub fn split(target: &str) -> Result<Path<'_>, Malformed> {
    let local = local_part(target).ok_or(Malformed)?;
    let Some((raw, query)) = cut(local, b'?') else { return Ok(Path { raw: local, query: "" }) };
    let query = cut(query, b'#').map_or(query, |(query, _)| query);
    Ok(Path { raw, query })
}

/// Splits at the first `byte`, an ASCII one. Targets are short: a plain loop beats a searcher.
#[inline]
fn cut(text: &str, byte: u8) -> Option<(&str, &str)> {
    let at = text.bytes().position(|other| other == byte)?;
    Some((text.get(..at)?, text.get(at + 1..)?))
}

fn local_part(target: &str) -> Option<&str> {
    if target.starts_with('/') || target == "*" {
        return Some(target);
    }
    let (scheme, rest) = target.split_once(':')?;
    match rest.strip_prefix("//") {
        Some(rest) if scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https") => {
            Some(rest.find(['/', '?']).and_then(|at| rest.get(at..)).unwrap_or(""))
        }
        Some(_) => None,
        None => rest.bytes().all(|byte| byte.is_ascii_digit()).then_some(""), // host:port
    }
}

/// How the target was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Header `dapr-app-id`, which does not travel on.
    Header,
    /// Basic authorization of the user `dapr-app-id`, which travels on.
    BasicAuth,
    /// `/v1.0/invoke/{id}/method/{method}`.
    Path,
}

impl Form {
    /// The names ([`Known::bit`]) that this form uses up.
    pub fn dropped(self) -> u64 {
        if self == Form::Header { Known::DaprAppId.bit() } else { 0 }
    }
}

/// The target of a call as addressed. Usually borrows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target<'a> {
    /// How it was given.
    pub form: Form,
    /// The id with its namespace suffix, or a URL; never empty.
    pub id: Cow<'a, str>,
    /// Decoded, cleaned, without leading slash; still to be judged by [`method::normalise`].
    pub method: Cow<'a, str>,
    /// The raw query.
    pub query: &'a str,
}

/// Why a request addresses nobody, or nothing callable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetError {
    /// No form of address: 404.
    NoAppId,
    /// A broken percent-encoding in the path: 400, the connection is closed.
    Malformed,
    /// Dot segments lead out of `/method/`: 400.
    Climbs,
    /// The method decodes to something that is not UTF-8.
    NotUtf8 {
        /// Who would have been called.
        id: String,
    },
}

impl TargetError {
    /// Who would have been called; empty where that is unknown.
    pub fn id(&self) -> &str {
        match self {
            TargetError::NotUtf8 { id } => id,
            _ => "",
        }
    }
}

impl fmt::Display for TargetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TargetError::NoAppId => {
                "failed getting app id either from the URL path or the header dapr-app-id"
            }
            TargetError::Malformed => "malformed request target",
            TargetError::Climbs => "dot segments in the path lead out of the method",
            TargetError::NotUtf8 { .. } => {
                "error sending message: rpc error: code = Internal desc = grpc: error while marshaling: \
                 string field contains invalid UTF-8"
            }
        })
    }
}

impl core::error::Error for TargetError {}

/// Finds the target: header before basic authorization before path.
///
/// # Errors
/// No address, or a path that cannot be a method.
pub fn find<'a>(path: &Path<'a>, headers: &Headers<'_, 'a>) -> Result<Target<'a>, TargetError> {
    let decoded = escape::decode(path.raw, false).map_err(|_| TargetError::Malformed)?;
    if let Some(id) = headers.first(Known::DaprAppId).filter(|id| !id.is_empty()) {
        return Target::new(Form::Header, String::from_utf8_lossy(id), decoded, path.query);
    }
    if let Some(id) = headers.first(Known::Authorization).and_then(basic_auth) {
        return Target::new(Form::BasicAuth, Cow::Owned(id), decoded, path.query);
    }
    match decoded {
        Cow::Borrowed(_) => {
            let (id, method) = parts(path.raw.as_bytes()).ok_or(TargetError::NoAppId)?;
            let (id, method) = (within(path.raw, id), within(path.raw, method));
            climbing(method)?;
            Ok(Target { form: Form::Path, id: unescaped(id), method: cleaned(method), query: path.query })
        }
        Cow::Owned(decoded) => {
            let (id, method) = parts(&decoded).ok_or(TargetError::NoAppId)?;
            let id = owned(unescaped(&String::from_utf8_lossy(decoded.get(id).unwrap_or_default())));
            let method = decoded.get(method).unwrap_or_default();
            climbing(&String::from_utf8_lossy(method))?;
            Target::new(Form::Path, id, Cow::Owned(method.to_vec()), path.query)
        }
    }
}

/// Whether a path has the form `/v1.0/invoke/{id}/method/{method}` as received, whatever its dot segments lead to: no
/// other API may answer it.
pub fn is_invocation(raw: &str) -> bool {
    parts(raw.as_bytes()).is_some()
}

/// A part of a path that [`parts`] found between ASCII letters.
fn within(path: &str, part: core::ops::Range<usize>) -> &str {
    path.get(part).unwrap_or_default()
}

fn climbing(method: &str) -> Result<(), TargetError> {
    let climbs = !method::is_plain(method.as_bytes()) && method::climbs(method);
    if climbs { Err(TargetError::Climbs) } else { Ok(()) }
}

impl<'a> Target<'a> {
    /// Header and basic form: `path` is the whole path, even `/v1.0/invoke/…`.
    fn new(
        form: Form,
        id: Cow<'a, str>,
        path: Cow<'a, [u8]>,
        query: &'a str,
    ) -> Result<Target<'a>, TargetError> {
        let method = match path {
            Cow::Borrowed(path) => core::str::from_utf8(path).ok().map(cleaned),
            Cow::Owned(path) => core::str::from_utf8(&path).ok().map(|path| owned(cleaned(path))),
        };
        match method {
            Some(method) => Ok(Target { form, id, method, query }),
            None => Err(TargetError::NotUtf8 { id: id.into_owned() }),
        }
    }
}

fn owned(text: Cow<'_, str>) -> Cow<'static, str> {
    Cow::Owned(text.into_owned())
}

/// `path.Clean` without leading slash; nothing for "here".
fn cleaned(path: &str) -> Cow<'_, str> {
    if method::is_plain(path.as_bytes()) {
        return Cow::Borrowed(path);
    }
    match method::clean(path) {
        Cow::Borrowed(".") => Cow::Borrowed(""),
        Cow::Borrowed(clean) => Cow::Borrowed(clean.strip_prefix('/').unwrap_or(clean)),
        Cow::Owned(clean) => match clean.strip_prefix('/') {
            Some(rest) => Cow::Owned(rest.into()),
            None => Cow::Owned(clean),
        },
    }
}

/// Where id and raw method are in a decoded path; surplus slashes before the id are skipped.
fn parts(path: &[u8]) -> Option<(core::ops::Range<usize>, core::ops::Range<usize>)> {
    const WORD: &[u8] = b"/method/";
    let rest = slashes(path.strip_prefix(b"/")?).strip_prefix(b"v1.0/")?;
    let rest = slashes(slashes(rest).strip_prefix(b"invoke/")?);
    let id = path.len() - rest.len();
    let begins = |at: &usize| rest.get(*at..).is_some_and(|rest| rest.starts_with(WORD));
    let mut slashes = rest.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
    let word = slashes.find(begins)?;
    Some((id..id + word, id + word + WORD.len()..path.len()))
}

fn slashes(path: &[u8]) -> &[u8] {
    let count = path.iter().take_while(|byte| **byte == b'/').count();
    path.get(count..).unwrap_or_default()
}

/// The id is decoded once more, with query rules; as it is where that fails (spec/invocation 1.5).
fn unescaped(id: &str) -> Cow<'_, str> {
    match escape::decode(id, true) {
        Ok(Cow::Borrowed(_)) | Err(_) => Cow::Borrowed(id),
        Ok(Cow::Owned(decoded)) => Cow::Owned(String::from_utf8_lossy(&decoded).into_owned()),
    }
}

/// The id in `Basic base64("dapr-app-id:<id>")`: spelled exactly so, padded, one colon.
fn basic_auth(value: &[u8]) -> Option<String> {
    let encoded = value.strip_prefix(b"Basic ").filter(|encoded| encoded.len().is_multiple_of(4))?;
    let decoded = String::from_utf8(base64::decode(encoded)?).ok()?;
    let (user, id) = decoded.split_once(':')?;
    let ours = user.eq_ignore_ascii_case("dapr-app-id") && !id.contains(':') && !id.is_empty();
    ours.then(|| id.into())
}

/// What an id stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination<'a> {
    /// An app in the mesh.
    App {
        /// Without the namespace suffix.
        app_id: &'a str,
        /// `None`: the caller's own.
        namespace: Option<&'a str>,
    },
    /// A literal `http://` or `https://` URL outside the mesh.
    External(&'a str),
}

impl Destination<'_> {
    /// The app by name, in the caller's namespace where none was given; `None` for external ones.
    pub fn app(&self, own_namespace: &str) -> Option<AppRef> {
        match self {
            Destination::App { app_id, namespace } => Some(AppRef {
                app_id: (*app_id).into(),
                namespace: namespace.unwrap_or(own_namespace).into(),
            }),
            Destination::External(_) => None,
        }
    }
}

/// An id that names nobody: two dots or more, or nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidId(String);

impl fmt::Display for InvalidId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_str() {
            "" => f.write_str("app id is empty"),
            id => write!(f, "invalid app id {id}"),
        }
    }
}

impl core::error::Error for InvalidId {}

/// What `id` stands for. Names of `HTTPEndpoint` resources have to be looked up before.
///
/// # Errors
/// Two or more dots; no app id before the dot.
pub fn destination(id: &str) -> Result<Destination<'_>, InvalidId> {
    if id.starts_with("http://") || id.starts_with("https://") {
        return Ok(Destination::External(id));
    }
    let (app_id, namespace) =
        cut(id, b'.').map_or((id, None), |(app_id, namespace)| (app_id, Some(namespace)));
    match namespace {
        Some(namespace) if namespace.contains('.') => Err(InvalidId(id.into())),
        _ if app_id.is_empty() => Err(InvalidId(String::new())),
        _ => Ok(Destination::App { app_id, namespace: namespace.filter(|namespace| !namespace.is_empty()) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http1::head::{Head, Limits, Request, Slots};

    fn target(line: &str, headers: &str) -> Result<(Form, String, String), TargetError> {
        let bytes = format!("GET {line} HTTP/1.1\r\nHost: a\r\n{headers}\r\n");
        let mut slots = Slots::new();
        let Ok(Head::Complete(head)) = Request::parse(bytes.as_bytes(), &mut slots, &Limits::default())
        else {
            panic!("{line}")
        };
        let target = find(&split(head.target).unwrap(), &head.headers)?;
        Ok((target.form, target.id.into_owned(), target.method.into_owned()))
    }

    #[test]
    fn the_usual_target_is_borrowed() {
        let bytes = b"GET /v1.0/invoke/orders/method/a/b?c=d HTTP/1.1\r\nHost: a\r\n\r\n";
        let mut slots = Slots::new();
        let Ok(Head::Complete(head)) = Request::parse(bytes, &mut slots, &Limits::default()) else {
            panic!()
        };
        let target = find(&split(head.target).unwrap(), &head.headers).unwrap();
        assert!(matches!((&target.id, &target.method), (Cow::Borrowed("orders"), Cow::Borrowed("a/b"))));
        assert_eq!((target.form, target.query), (Form::Path, "c=d"));
    }

    #[test]
    fn an_invocation_stays_one_whatever_its_dot_segments_lead_to() {
        assert!(is_invocation("/v1.0/invoke/orders/method/../../../metadata"));
        assert!(is_invocation("//v1.0//invoke/orders/method/"));
        assert!(!is_invocation("/v1.0/metadata"));
        assert!(!is_invocation("/v1.0/invoke/orders"));
    }

    #[test]
    fn request_targets_are_taken_apart() {
        for (target, raw, query) in [
            ("/a/b?c=d?e#f", "/a/b", "c=d?e"),
            ("/a#f?x", "/a#f", "x"),
            ("http://h:1/a?b", "/a", "b"),
            ("HTTPS://h", "", ""),
            ("http://h?x=1", "", "x=1"),
            ("host:80", "", ""),
            ("*", "*", ""),
        ] {
            assert_eq!(split(target), Ok(Path { raw, query }), "{target}");
        }
        for target in ["hello", "ftp://h/a", "host:80x", "a/b"] {
            assert_eq!(split(target), Err(Malformed), "{target}");
        }
    }

    #[test]
    fn ids_stand_for_apps_in_namespaces_or_for_urls() {
        let app = |app_id, namespace| Ok(Destination::App { app_id, namespace });
        assert_eq!(destination("orders"), app("orders", None));
        assert_eq!(destination("orders.prod"), app("orders", Some("prod")));
        assert_eq!(destination("orders."), app("orders", None));
        assert_eq!(destination("http://h.x.y:1/base"), Ok(Destination::External("http://h.x.y:1/base")));
        assert_eq!(destination("a.b.c").unwrap_err().to_string(), "invalid app id a.b.c");
        assert_eq!(destination(".ns").unwrap_err().to_string(), "app id is empty");
        let app = destination("orders").unwrap().app("default").unwrap();
        assert_eq!((app.app_id.as_str(), app.namespace.as_str()), ("orders", "default"));
    }

    #[test]
    fn urls_may_be_addressed_encoded() {
        let (_, id, method) = target("/v1.0/invoke/http%3A%2F%2Fh.test:1/method/x", "").unwrap();
        assert_eq!((id.as_str(), method.as_str()), ("http://h.test:1", "x"));
        let (_, id, _) = target("/v1.0/invoke/http://h.test/method/x", "").unwrap();
        assert_eq!(id, "http://h.test");
    }

    /// compat.md: dot segments that climb out of `/method/`.
    #[test]
    fn dot_segments_that_climb_out_of_the_method_are_refused() {
        for method in ["../../../metadata", "../x", "a/../../x", "%2e%2e/x", "a%2F..%2F..%2Fx", ".."] {
            let error = target(&format!("/v1.0/invoke/orders/method/{method}"), "").unwrap_err();
            assert_eq!(error, TargetError::Climbs, "{method}");
        }
        assert_eq!(target("/v1.0/invoke/orders/method/a/../b", "").unwrap().2, "b");
    }

    #[test]
    fn only_the_header_form_uses_up_its_header() {
        let form = |line, headers| target(line, headers).unwrap().0;
        assert_eq!(form("/x", "dapr-app-id: orders\r\n").dropped(), Known::DaprAppId.bit());
        assert_eq!(form("/v1.0/invoke/orders/method/x", "dapr-app-id:\r\n").dropped(), 0);
    }
}
