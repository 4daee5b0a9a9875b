//! `http://` and `https://` URLs of servers outside the mesh: literal targets, `HTTPEndpoint` resources, and where a
//! redirect leads (spec/invocation 1.10.3; RFC 3986).

use super::escape;
use crate::grpc::base64::{self, Padding};
use core::fmt;

/// A server: who is connected to, and whose credentials are whose.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    /// TLS.
    pub secure: bool,
    /// Lower case, without brackets.
    pub host: String,
    /// 80 and 443 where the URL names none.
    pub port: u16,
}

impl Origin {
    /// `http` or `https`.
    pub fn scheme(&self) -> &'static str {
        if self.secure { "https" } else { "http" }
    }
}

/// A URL without its query.
#[derive(Clone, PartialEq, Eq)]
pub struct Url {
    /// The server.
    pub origin: Origin,
    /// Host and port as written, for `Host` and messages.
    pub authority: String,
    /// User name and password as written; never shown.
    pub user: Option<String>,
    /// As written, with its leading slash; empty where there is none.
    pub path: String,
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

/// Why a text is no URL of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadUrl {
    /// Neither `http://` nor `https://`.
    Scheme,
    /// `[` without `]`.
    Bracket,
    /// A port that is none.
    Port(String),
    /// Nothing before the path.
    NoHost,
    /// A character that no host has.
    Host(String),
    /// A query or a fragment, behind which no method can stand.
    Query,
    /// A `%` without two hex digits.
    Escape(String),
}

impl fmt::Display for BadUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadUrl::Scheme => f.write_str("unsupported protocol scheme: expected http:// or https://"),
            BadUrl::Bracket => f.write_str("missing ']' in host"),
            BadUrl::Port(port) => write!(f, "invalid port {port:?} after host"),
            BadUrl::NoHost => f.write_str("no Host in request URL"),
            BadUrl::Host(host) => write!(f, "invalid character in host name {host:?}"),
            BadUrl::Query => f.write_str("a query or a fragment has no place in a URL that a method follows"),
            BadUrl::Escape(escape) => write!(f, "invalid URL escape {escape:?}"),
        }
    }
}

impl core::error::Error for BadUrl {}

/// What an endpoint is called by: the base and a method behind it.
///
/// # Errors
/// What the text is instead.
pub fn parse(text: &str) -> Result<Url, BadUrl> {
    let (secure, rest) = scheme(text).ok_or(BadUrl::Scheme)?;
    if rest.contains(['?', '#']) {
        return Err(BadUrl::Query);
    }
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    url(secure, authority, path)
}

fn scheme(text: &str) -> Option<(bool, &str)> {
    let plain = text.strip_prefix("http://").map(|rest| (false, rest));
    plain.or_else(|| text.strip_prefix("https://").map(|rest| (true, rest)))
}

fn url(secure: bool, authority: &str, path: &str) -> Result<Url, BadUrl> {
    let (user, authority) = match authority.rsplit_once('@') {
        Some((user, authority)) => (Some(user), authority),
        None => (None, authority),
    };
    let (host, port) = host_and_port(authority)?;
    if host.is_empty() {
        return Err(BadUrl::NoHost);
    }
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte);
    if !host.bytes().all(fits) {
        return Err(BadUrl::Host(host.into()));
    }
    user.map(basic).transpose()?;
    let port = port.unwrap_or(if secure { 443 } else { 80 });
    Ok(Url {
        origin: Origin { secure, host: host.to_ascii_lowercase(), port },
        authority: authority.into(),
        user: user.map(Into::into),
        path: path.into(),
    })
}

/// The host without brackets, and the port where one is written.
fn host_and_port(authority: &str) -> Result<(&str, Option<u16>), BadUrl> {
    let (host, rest) = match authority.strip_prefix('[') {
        Some(inner) => inner.split_once(']').ok_or(BadUrl::Bracket)?,
        None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
    };
    match rest.strip_prefix(':') {
        None if rest.is_empty() => Ok((host, None)),
        Some("") => Ok((host, None)),
        Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
            let number = port.parse().ok().filter(|port| *port != 0);
            number.map(|port| (host, Some(port))).ok_or_else(|| BadUrl::Port(port.into()))
        }
        _ => Err(BadUrl::Port(rest.trim_start_matches(':').into())),
    }
}

fn basic(user: &str) -> Result<String, BadUrl> {
    let decoded = escape::decode(user, false).map_err(|bad| BadUrl::Escape(bad.0))?;
    let mut pair = decoded.into_owned();
    if !user.contains(':') {
        pair.push(b':');
    }
    let mut out = b"Basic ".to_vec();
    base64::encode(&mut out, &pair, Padding::Padded);
    Ok(String::from_utf8_lossy(&out).into_owned())
}

impl Url {
    /// The URL as text, without user and password.
    pub fn text(&self) -> String {
        format!("{}://{}{}", self.origin.scheme(), self.authority, self.path)
    }

    /// The value of `Authorization` that the URL's user amounts to.
    pub fn credentials(&self) -> Option<String> {
        self.user.as_deref().and_then(|user| basic(user).ok())
    }

    /// The whole URL, with user and password.
    pub fn secret_text(&self) -> String {
        let user = self.user.as_deref().map(|user| format!("{user}@")).unwrap_or_default();
        format!("{}://{user}{}{}", self.origin.scheme(), self.authority, self.path)
    }

    /// The path of a call: the method stands behind a slash, nothing behind nothing (vectors endpoints/…/empty-method).
    pub fn with_method(&self, method: &str) -> String {
        match method {
            "" => self.path.clone(),
            _ if method.starts_with('/') => format!("{}{method}", self.path),
            _ => format!("{}/{method}", self.path),
        }
    }

    /// Where `Location: {to}` in an answer to a request for `path` leads: the URL and its query.
    ///
    /// # Errors
    /// Not a URL of a server.
    pub fn redirected(&self, path: &str, to: &str) -> Result<(Url, String), BadUrl> {
        let to = to.split('#').next().unwrap_or_default();
        let (place, query) = to.split_once('?').unwrap_or((to, ""));
        if let Some((secure, rest)) = scheme(place) {
            return Ok((elsewhere(secure, rest)?, query.into()));
        }
        if let Some(rest) = place.strip_prefix("//") {
            return Ok((elsewhere(self.origin.secure, rest)?, query.into()));
        }
        if has_scheme(place) {
            return Err(BadUrl::Scheme);
        }
        let merged = match place {
            "" => path.to_owned(),
            _ if place.starts_with('/') => place.to_owned(),
            _ => format!("{}/{place}", path.rsplit_once('/').map_or("", |(before, _)| before)),
        };
        Ok((Url { path: without_dots(&merged), ..self.clone() }, query.into()))
    }
}

fn elsewhere(secure: bool, rest: &str) -> Result<Url, BadUrl> {
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    url(secure, authority, &without_dots(path))
}

/// `mailto:x`, `ftp://h`: letters and a colon before any slash.
fn has_scheme(place: &str) -> bool {
    let colon = place.find(':').and_then(|at| place.get(..at));
    colon.is_some_and(|name| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

/// RFC 3986 section 5.2.4.
fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for segment in path.split('/').skip(1) {
        match segment {
            "." => {}
            ".." => drop(kept.pop()),
            segment => kept.push(segment),
        }
    }
    let ends = path.ends_with("/.") || path.ends_with("/..");
    let end = if ends && !kept.is_empty() { "/" } else { "" };
    if path.is_empty() { String::new() } else { format!("/{}{end}", kept.join("/")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(secure: bool, host: &str, port: u16) -> Origin {
        Origin { secure, host: host.into(), port }
    }

    #[test]
    fn urls_are_taken_apart() {
        for (text, secure, host, port, authority, path) in [
            ("http://h", false, "h", 80, "h", ""),
            ("https://API.example.com/base/", true, "api.example.com", 443, "API.example.com", "/base/"),
            ("http://u:p@127.0.0.1:81/a", false, "127.0.0.1", 81, "127.0.0.1:81", "/a"),
            ("http://[::1]:82", false, "::1", 82, "[::1]:82", ""),
            ("http://h:/a", false, "h", 80, "h:", "/a"),
        ] {
            let url = parse(text).unwrap();
            assert_eq!(url.origin, origin(secure, host, port), "{text}");
            assert_eq!((url.authority.as_str(), url.path.as_str()), (authority, path), "{text}");
        }
    }

    #[test]
    fn what_is_no_url_of_a_server_says_why() {
        for (text, why) in [
            ("ftp://h", "unsupported protocol scheme: expected http:// or https://"),
            ("http://[bad", "missing ']' in host"),
            ("http://", "no Host in request URL"),
            ("http://:80/x", "no Host in request URL"),
            ("http://h:x", "invalid port \"x\" after host"),
            ("http://h:0", "invalid port \"0\" after host"),
            ("http://h:99999", "invalid port \"99999\" after host"),
            ("http://h\r\nX: y/", "invalid port \" y\" after host"),
            ("http://h h/", "invalid character in host name \"h h\""),
            ("http://h?x=1", "a query or a fragment has no place in a URL that a method follows"),
            ("http://%zz@h", "invalid URL escape \"%zz\""),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error == why || text.contains('\r'), "{text:?}: {error}");
        }
    }

    #[test]
    fn a_user_in_the_url_is_basic_authorization_and_never_shown() {
        let url = parse("http://u:p@h/x").unwrap();
        assert_eq!(url.credentials().as_deref(), Some("Basic dTpw"));
        assert_eq!(url.secret_text(), "http://u:p@h/x");
        assert_eq!((url.text().as_str(), format!("{url:?}").as_str()), ("http://h/x", "http://h/x"));
        assert_eq!(parse("http://u@h").unwrap().credentials().as_deref(), Some("Basic dTo="));
        assert_eq!(parse("http://a%40b:p@h").unwrap().credentials().as_deref(), Some("Basic YUBiOnA="));
    }

    #[test]
    fn a_method_stands_behind_the_base() {
        let with = |base: &str, method: &str| parse(base).unwrap().with_method(method);
        assert_eq!(with("http://h", "a/b"), "/a/b");
        assert_eq!(with("http://h/", "a"), "//a");
        assert_eq!(with("http://h/base", ""), "/base");
        assert_eq!(with("http://h", ""), "");
        assert_eq!(with("http://h/base", "/a"), "/base/a");
    }

    #[test]
    fn redirects_lead_to_a_place_relative_to_the_one_before() {
        let from = parse("http://h:1/ignored").unwrap();
        for (to, leads) in [
            ("/moved?x=1#f", "http://h:1/moved ?x=1"),
            ("moved", "http://h:1/a/moved ?"),
            ("../x", "http://h:1/x ?"),
            ("./", "http://h:1/a/ ?"),
            ("?y=2", "http://h:1/a/b ?y=2"),
            ("//other/p", "http://other/p ?"),
            ("https://other:9/p/../q", "https://other:9/q ?"),
            ("https://other", "https://other ?"),
            ("/a//b", "http://h:1/a//b ?"),
            ("/../..", "http://h:1/ ?"),
        ] {
            let (url, query) = from.redirected("/a/b", to).unwrap();
            assert_eq!(format!("{} ?{query}", url.text()), leads, "{to}");
        }
        for to in ["ftp://h/x", "javascript:alert(1)", "file:///etc/passwd"] {
            assert_eq!(from.redirected("/a/b", to).unwrap_err(), BadUrl::Scheme, "{to}");
        }
    }

    #[test]
    fn another_port_or_scheme_is_another_origin() {
        let of = |text: &str| parse(text).unwrap().origin;
        assert_eq!(of("http://H"), of("http://h:80"));
        assert_ne!(of("http://h"), of("https://h"));
        assert_ne!(of("http://h"), of("http://h:81"));
    }
}
