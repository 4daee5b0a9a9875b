//! SPIFFE IDs as daprd forms and parses them (spec/security 1.1).
//!
//! A certificate carries a [`SpiffeUri`]: any trust domain, any path. A workload is named by a [`SpiffeId`]:
//! `/ns/<namespace>/<app id>`. The two differ only in odd certificates: daprd tolerates further path segments
//! behind the app id in a caller's certificate and compares the whole path of a callee's.

use core::fmt;

/// Longest URI (grpc-go `internal/credentials/spiffe.go`).
pub const MAX_URI: usize = 2048;
/// Longest trust domain (the same).
pub const MAX_TRUST_DOMAIN: usize = 255;

/// `spiffe://<trust domain>/ns/<namespace>/<app id>`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SpiffeId {
    /// Lower-case letters, digits, dots, dashes and underscores.
    pub trust_domain: String,
    /// The workload's namespace.
    pub namespace: String,
    /// The workload's app id.
    pub app_id: String,
}

impl SpiffeId {
    /// The ID of a workload, its three parts checked against their alphabets.
    pub fn new(trust_domain: &str, namespace: &str, app_id: &str) -> Result<SpiffeId, SpiffeError> {
        check_trust_domain(trust_domain)?;
        check_segment(namespace)?;
        check_segment(app_id)?;
        let id = SpiffeId {
            trust_domain: trust_domain.to_owned(),
            namespace: namespace.to_owned(),
            app_id: app_id.to_owned(),
        };
        if id.to_string().len() > MAX_URI { Err(SpiffeError::TooLong) } else { Ok(id) }
    }

    /// Parses a workload's URI; segments behind the app id are ignored, as daprd does.
    pub fn parse(text: &str) -> Result<SpiffeId, SpiffeError> {
        SpiffeUri::parse(text)?.workload()
    }

    /// `/ns/<namespace>/<app id>`: what a caller compares, whatever the trust domain (spec/security 1.2).
    pub fn path(&self) -> String {
        format!("/ns/{}/{}", self.namespace, self.app_id)
    }

    /// Whether both name the same namespace and app id; trust domains are not compared.
    pub fn is_same_workload(&self, other: &SpiffeId) -> bool {
        self.namespace == other.namespace && self.app_id == other.app_id
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "spiffe://{}/ns/{}/{}", self.trust_domain, self.namespace, self.app_id)
    }
}

/// A SPIFFE ID as a certificate presents it: a trust domain and a path that is not empty.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SpiffeUri {
    trust_domain: String,
    path: String,
}

impl SpiffeUri {
    /// Parses `spiffe://<trust domain>/<segments>`, at most [`MAX_URI`] bytes. A URI without a path is refused: it
    /// names no workload, and crashes older peers (corrections 41).
    pub fn parse(text: &str) -> Result<SpiffeUri, SpiffeError> {
        if text.len() > MAX_URI {
            return Err(SpiffeError::TooLong);
        }
        let rest = text.strip_prefix("spiffe://").ok_or(SpiffeError::Scheme)?;
        let (trust_domain, path) = rest.split_once('/').unwrap_or((rest, ""));
        check_trust_domain(trust_domain)?;
        if rest.len() == trust_domain.len() {
            return Err(SpiffeError::NoPath);
        }
        path.split('/').try_for_each(check_segment)?;
        Ok(SpiffeUri { trust_domain: trust_domain.to_owned(), path: format!("/{path}") })
    }

    /// Everything between `spiffe://` and the path.
    pub fn trust_domain(&self) -> &str {
        &self.trust_domain
    }

    /// The path with its leading slash.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The workload it names: the path begins with `/ns/<namespace>/<app id>`.
    pub fn workload(&self) -> Result<SpiffeId, SpiffeError> {
        let mut parts = self.path.split('/').skip(1);
        match (parts.next(), parts.next(), parts.next()) {
            (Some("ns"), Some(namespace), Some(app_id)) => Ok(SpiffeId {
                trust_domain: self.trust_domain.clone(),
                namespace: namespace.to_owned(),
                app_id: app_id.to_owned(),
            }),
            _ => Err(SpiffeError::Malformed(self.to_string())),
        }
    }
}

impl fmt::Display for SpiffeUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "spiffe://{}{}", self.trust_domain, self.path)
    }
}

/// Why a text is not the ID of a workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SpiffeError {
    /// Does not begin with `spiffe://`.
    Scheme,
    /// More than [`MAX_URI`] bytes, or a trust domain of more than [`MAX_TRUST_DOMAIN`].
    TooLong,
    /// The trust domain is empty.
    NoTrustDomain,
    /// A byte that a trust domain must not contain.
    TrustDomain,
    /// Nothing behind the trust domain.
    NoPath,
    /// An empty path segment, also that of a trailing slash.
    EmptySegment,
    /// A path segment `.` or `..`.
    DotSegment,
    /// A byte that a path segment must not contain.
    Segment,
    /// A SPIFFE ID whose path is not `/ns/<namespace>/<app id>`; holds the ID.
    Malformed(String),
}

impl fmt::Display for SpiffeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SpiffeError::Scheme => "a SPIFFE ID begins with spiffe://",
            SpiffeError::TooLong => "the SPIFFE ID is too long (URI 2048 bytes, trust domain 255)",
            SpiffeError::NoTrustDomain => "the trust domain is empty",
            SpiffeError::TrustDomain => "a trust domain consists of a-z, 0-9, dots, dashes and underscores",
            SpiffeError::NoPath => "the SPIFFE ID has no path",
            SpiffeError::EmptySegment => "a path segment of the SPIFFE ID is empty",
            SpiffeError::DotSegment => "a path segment of the SPIFFE ID is a dot or two",
            SpiffeError::Segment => {
                "a path segment consists of letters, digits, dots, dashes and underscores"
            }
            SpiffeError::Malformed(id) => return write!(f, "malformed SPIFFE ID: {id}"),
        })
    }
}

impl std::error::Error for SpiffeError {}

/// A trust domain: 1 to [`MAX_TRUST_DOMAIN`] of `a-z 0-9 - . _`.
pub fn check_trust_domain(text: &str) -> Result<(), SpiffeError> {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.' | b'_');
    match text {
        "" => Err(SpiffeError::NoTrustDomain),
        _ if text.len() > MAX_TRUST_DOMAIN => Err(SpiffeError::TooLong),
        _ if !text.bytes().all(allowed) => Err(SpiffeError::TrustDomain),
        _ => Ok(()),
    }
}

/// A path segment: at least one of `A-Z a-z 0-9 - . _`, but neither `.` nor `..`.
pub fn check_segment(text: &str) -> Result<(), SpiffeError> {
    match text {
        "" => Err(SpiffeError::EmptySegment),
        "." | ".." => Err(SpiffeError::DotSegment),
        _ if text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_')) => Ok(()),
        _ => Err(SpiffeError::Segment),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(trust_domain: &str, namespace: &str, app_id: &str) -> SpiffeId {
        SpiffeId::new(trust_domain, namespace, app_id).unwrap()
    }

    #[test]
    fn an_id_survives_writing_and_parsing() {
        let a = id("public", "default", "my-App_1.x");
        assert_eq!(a.to_string(), "spiffe://public/ns/default/my-App_1.x");
        assert_eq!(SpiffeId::parse(&a.to_string()), Ok(a.clone()));
        assert_eq!(a.path(), "/ns/default/my-App_1.x");
    }

    #[test]
    fn further_segments_are_tolerated_but_kept_in_the_uri() {
        // vectors/mtls port/long-path and caller/fake/extra-path
        let uri = SpiffeUri::parse("spiffe://public/ns/default/gv-peer/x").unwrap();
        assert_eq!(uri.workload(), Ok(id("public", "default", "gv-peer")));
        assert_eq!(uri.path(), "/ns/default/gv-peer/x");
        assert_eq!(uri.to_string(), "spiffe://public/ns/default/gv-peer/x");
    }

    #[test]
    fn a_short_path_names_no_workload() {
        // vectors/mtls port/short-path
        let uri = SpiffeUri::parse("spiffe://public/ns/default").unwrap();
        let error = uri.workload().unwrap_err();
        assert_eq!(error.to_string(), "malformed SPIFFE ID: spiffe://public/ns/default");
        assert!(SpiffeId::parse("spiffe://public/sa/default/app").is_err());
    }

    #[test]
    fn a_uri_without_a_path_is_refused() {
        // vectors/mtls port/no-path-no-acl: it crashes a daprd
        assert_eq!(SpiffeUri::parse("spiffe://public"), Err(SpiffeError::NoPath));
        assert_eq!(SpiffeUri::parse("spiffe://public/"), Err(SpiffeError::EmptySegment));
    }

    #[test]
    fn foreign_schemes_alphabets_and_shapes_are_refused() {
        let cases = [
            ("https://public/ns/default/app", SpiffeError::Scheme),
            ("SPIFFE://public/ns/default/app", SpiffeError::Scheme),
            ("spiffe:///ns/default/app", SpiffeError::NoTrustDomain),
            ("spiffe://Public/ns/default/app", SpiffeError::TrustDomain),
            ("spiffe://public:80/ns/default/app", SpiffeError::TrustDomain),
            ("spiffe://a@b/ns/default/app", SpiffeError::TrustDomain),
            ("spiffe://public/ns/default/app/", SpiffeError::EmptySegment),
            ("spiffe://public/ns//app", SpiffeError::EmptySegment),
            ("spiffe://public/ns/../app", SpiffeError::DotSegment),
            ("spiffe://public/ns/./app", SpiffeError::DotSegment),
            ("spiffe://public/ns/default/app%41", SpiffeError::Segment),
            ("spiffe://public/ns/default/app\0x", SpiffeError::Segment),
            ("spiffe://public/ns/default/app?x", SpiffeError::Segment),
            ("spiffe://public/ns/default/äpp", SpiffeError::Segment),
        ];
        for (text, error) in cases {
            assert_eq!(SpiffeId::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn limits_hold_to_the_byte() {
        let text = |td: usize, all: usize| {
            let head = format!("spiffe://{}/ns/default/", "a".repeat(td));
            format!("{head}{}", "b".repeat(all - head.len()))
        };
        assert!(SpiffeId::parse(&text(6, MAX_URI)).is_ok());
        assert_eq!(SpiffeId::parse(&text(6, MAX_URI + 1)), Err(SpiffeError::TooLong));
        assert!(SpiffeId::parse(&text(MAX_TRUST_DOMAIN, 400)).is_ok());
        assert_eq!(SpiffeId::parse(&text(MAX_TRUST_DOMAIN + 1, 400)), Err(SpiffeError::TooLong));
    }

    #[test]
    fn empty_parts_make_no_id() {
        assert!(SpiffeId::new("", "default", "app").is_err());
        assert!(SpiffeId::new("public", "", "app").is_err());
        assert!(SpiffeId::new("public", "default", "").is_err());
        assert!(SpiffeId::new("public", "default", "a/b").is_err());
    }

    #[test]
    fn trust_domains_are_not_part_of_the_workload() {
        assert!(id("public", "default", "a").is_same_workload(&id("elsewhere", "default", "a")));
        assert!(!id("public", "default", "a").is_same_workload(&id("public", "prod", "a")));
        assert!(!id("public", "default", "a").is_same_workload(&id("public", "default", "b")));
    }
}
