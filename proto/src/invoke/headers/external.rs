//! The request head for a server outside the mesh (spec/invocation 1.10.3): nothing about the mesh is added, and what is
//! secret goes only to the origin it was given for (compat.md "redirects of external endpoints").

use super::app::{Refused, rest};
use super::app::{checked, content_type, expects_body, pass, trace, undone_on_error, user_agent};
use crate::envelope::Verb;
use crate::http1::encode;
use crate::http1::framing::Framing;
use crate::http1::head::{Line, Request};
use crate::http1::hop::Listed;
use crate::http1::names::Known;
use crate::invoke::escape;
use crate::trace::{Context, Passed};

/// Names that are written by other rules than passing on.
const ASIDE: u64 = Known::Baggage.bit()
    | Known::DaprApiToken.bit()
    | Known::Host.bit()
    | Known::Traceparent.bit()
    | Known::Tracestate.bit()
    | Known::UserAgent.bit();

/// Credentials of the client: they stay with the origin they were given for, as in Go.
const CREDENTIALS: [&[u8]; 5] =
    [b"authorization", b"cookie", b"cookie2", b"proxy-authorization", b"www-authenticate"];

/// Where a request goes, and what it carries besides the client's headers.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// `host[:port]` as the URL has it.
    pub authority: &'a str,
    /// The path, decoded or encoded; empty is `/`.
    pub path: &'a str,
    /// The raw query.
    pub query: &'a str,
    /// `Authorization` of the URL's user, where the client sends none.
    pub credentials: Option<&'a str>,
    /// Headers of the resource; they replace the client's of the same name.
    pub headers: &'a [(String, String)],
    /// What led here; the client's own `Referer` wins.
    pub referer: Option<&'a str>,
    /// Another origin than the call was made to: the client's credentials stay behind.
    pub foreign: bool,
    /// A redirect that is followed by GET: no body, and nothing that described one.
    pub as_get: bool,
    /// A trace context that the sidecar began, in the place of what the client sent.
    pub trace: Option<Context>,
}

/// Appends the head of a request of a local client to an external server, and says how its body must be sent.
/// `dropped`: known names that the form of address used up.
///
/// # Errors
/// `out` is as before.
pub fn from_client(
    out: &mut Vec<u8>,
    request: &Request<'_, '_>,
    place: &Place<'_>,
    dropped: u64,
) -> Result<Framing, Refused> {
    undone_on_error(out, |out| {
        let verb = verb(request, place.as_get)?;
        let framing = match request.framing() {
            _ if place.as_get => Framing::None,
            Framing::None if expects_body(verb) => Framing::Length(0),
            framing => framing,
        };
        begin(out, verb, place, framing)?;
        headers(out, request, place, dropped)?;
        encode::end(out);
        Ok(framing)
    })
}

/// The verb that goes out: the client's own, also an unknown one.
///
/// # Errors
/// CONNECT, NONE, no token.
pub fn verb<'r>(request: &Request<'_, 'r>, as_get: bool) -> Result<&'r str, Refused> {
    let numbered = Verb::of(request.method);
    let verb = numbered.and_then(Verb::name).unwrap_or(request.method);
    match as_get {
        true if verb == "HEAD" => Ok(verb),
        true => Ok("GET"),
        false if numbered.is_some_and(|verb| !verb.is_callable()) => Err(Refused::Verb),
        false if encode::is_name(verb.as_bytes()) => Ok(verb),
        false => Err(Refused::Verb),
    }
}

fn begin(out: &mut Vec<u8>, verb: &str, place: &Place<'_>, framing: Framing) -> Result<(), Refused> {
    out.extend_from_slice(verb.as_bytes());
    out.extend_from_slice(b" /");
    escape::path(out, place.path.strip_prefix('/').unwrap_or(place.path)).map_err(|bad| Refused::Escape {
        url: format!("http://{}{}", place.authority, place.path),
        escape: bad.0,
    })?;
    if !place.query.is_empty() && !place.query.starts_with('#') {
        out.push(b'?');
        escape::query(out, place.query);
    }
    out.extend_from_slice(b" HTTP/1.1\r\n");
    checked(out, b"Host", place.authority.as_bytes())?;
    match framing {
        Framing::Length(length) => encode::content_length(out, length),
        Framing::Chunked => encode::chunked(out),
        Framing::None | Framing::UntilClose => {}
    }
    Ok(())
}

fn headers(
    out: &mut Vec<u8>,
    request: &Request<'_, '_>,
    place: &Place<'_>,
    dropped: u64,
) -> Result<(), Refused> {
    let headers = &request.headers;
    let listed = Listed::of(headers);
    if !place.as_get && !place.sets(b"content-type") {
        content_type(out, headers.first(Known::ContentType).unwrap_or_default())?;
    }
    for line in headers.iter() {
        let name = line.name.as_bytes();
        let aside = line.known.is_in(ASIDE | dropped) || listed.drops(line.known, name);
        if !aside && place.keeps(&line) {
            pass(out, line.known, name, line.value)?;
        }
    }
    if !listed.drops(Known::UserAgent, b"user-agent") && !place.sets(b"user-agent") {
        user_agent(out, headers.first(Known::UserAgent))?;
    }
    place.own(out, headers.has(Known::Authorization), headers.iter().any(|line| is(&line, b"referer")))?;
    let passed = headers.first(Known::Traceparent).and_then(Passed::of);
    let state = headers.first(Known::Tracestate).filter(|_| place.trace.is_none());
    trace(out, place.trace.map(Passed::Context).or(passed), state)?;
    rest(out, headers.first(Known::Baggage), &super::app::Added::default())
}

fn is(line: &Line<'_>, name: &[u8]) -> bool {
    line.name.as_bytes().eq_ignore_ascii_case(name)
}

impl Place<'_> {
    /// Whether the resource has a header of this name.
    fn sets(&self, name: &[u8]) -> bool {
        self.headers.iter().any(|(own, _)| own.as_bytes().eq_ignore_ascii_case(name))
    }

    /// Whether a line of the client goes there.
    fn keeps(&self, line: &Line<'_>) -> bool {
        let name = line.name.as_bytes();
        let secret = self.foreign && CREDENTIALS.iter().any(|known| name.eq_ignore_ascii_case(known));
        let about_body =
            self.as_get && name.get(..8).is_some_and(|start| start.eq_ignore_ascii_case(b"content-"));
        !secret && !about_body && !self.sets(name)
    }

    /// What the URL, the resource and the redirect add.
    fn own(&self, out: &mut Vec<u8>, authorized: bool, referred: bool) -> Result<(), Refused> {
        if let Some(credentials) = self.credentials.filter(|_| !authorized && !self.sets(b"authorization")) {
            checked(out, b"Authorization", credentials.as_bytes())?;
        }
        if let Some(referer) = self.referer.filter(|_| !referred && !self.sets(b"referer")) {
            checked(out, b"Referer", referer.as_bytes())?;
        }
        self.headers.iter().try_for_each(|(name, value)| {
            let mut spelled = Vec::with_capacity(name.len());
            encode::canonical(&mut spelled, name.as_bytes());
            checked(out, &spelled, value.as_bytes())
        })
    }
}

/// Whether a resource may set a header of this name: not one that says how the message is framed or where it goes.
pub fn is_settable(name: &str) -> bool {
    let framing = [
        "host",
        "content-length",
        "transfer-encoding",
        "connection",
        "trailer",
        "upgrade",
        "te",
        "keep-alive",
        "expect",
        "proxy-connection",
    ];
    encode::is_name(name.as_bytes()) && !framing.iter().any(|known| name.eq_ignore_ascii_case(known))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http1::head::{Head, Limits, Slots};

    fn written(head: &str, place: &Place<'_>) -> Result<(Framing, String), Refused> {
        let bytes = head.replace('\n', "\r\n");
        let mut slots = Slots::new();
        let Ok(Head::Complete(request)) = Request::parse(bytes.as_bytes(), &mut slots, &Limits::default())
        else {
            panic!("{head}")
        };
        let mut out = Vec::new();
        let framing = from_client(&mut out, &request, place, 0)?;
        Ok((framing, String::from_utf8(out).unwrap().replace('\r', "")))
    }

    fn place<'a>(path: &'a str, headers: &'a [(String, String)]) -> Place<'a> {
        Place {
            authority: "h:1",
            path,
            query: "",
            credentials: None,
            headers,
            referer: None,
            trace: None,
            foreign: false,
            as_get: false,
        }
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
    }

    #[test]
    fn nothing_of_the_mesh_is_added_and_the_resources_headers_win() {
        let own = pairs(&[("x-override", "resource"), ("Authorization", "secret")]);
        let head = "GET /v HTTP/1.1\nHost: a\nX-Override: client\nX: 1\nConnection: X-Hop\nX-Hop: 1\n\
                    Dapr-Api-Token: t\nAuthorization: mine\n\n";
        let (framing, text) = written(head, &place("/a b//c", &own)).unwrap();
        assert_eq!(framing, Framing::None);
        assert_eq!(
            text,
            "GET /a%20b//c HTTP/1.1\nHost: h:1\nX: 1\nX-Override: resource\nAuthorization: secret\n\n"
        );
    }

    #[test]
    fn a_redirect_to_another_origin_leaves_the_credentials_behind() {
        let head = "POST /v HTTP/1.1\nHost: a\nAuthorization: mine\nCookie: c\nX: 1\nContent-Length: 2\n\
                    Content-Type: text/plain\nContent-Encoding: br\n\n";
        let there =
            Place { foreign: true, as_get: true, referer: Some("http://h/a"), ..place("/moved", &[]) };
        let (framing, text) = written(head, &there).unwrap();
        assert_eq!(framing, Framing::None);
        assert_eq!(text, "GET /moved HTTP/1.1\nHost: h:1\nX: 1\nReferer: http://h/a\n\n");
    }

    #[test]
    fn the_urls_user_is_sent_where_the_client_sends_none() {
        let there = Place { credentials: Some("Basic dTpw"), ..place("", &[]) };
        let (_, text) = written("GET / HTTP/1.1\nHost: a\n\n", &there).unwrap();
        assert_eq!(text, "GET / HTTP/1.1\nHost: h:1\nAuthorization: Basic dTpw\n\n");
        let (_, text) = written("GET / HTTP/1.1\nHost: a\nAuthorization: mine\n\n", &there).unwrap();
        assert_eq!(text, "GET / HTTP/1.1\nHost: h:1\nAuthorization: mine\n\n");
    }

    #[test]
    fn no_header_of_a_resource_can_change_the_message() {
        for name in ["Host", "content-length", "Transfer-Encoding", "a b", "", "x:y"] {
            assert!(!is_settable(name), "{name}");
        }
        let own = pairs(&[("X", "a\r\nY: b")]);
        assert!(written("GET / HTTP/1.1\nHost: a\n\n", &place("/", &own)).is_err());
    }

    #[test]
    fn connect_is_refused() {
        assert_eq!(
            written("CONNECT a:1 HTTP/1.1\nHost: a\n\n", &place("/", &[])).unwrap_err(),
            Refused::Verb
        );
    }
}
