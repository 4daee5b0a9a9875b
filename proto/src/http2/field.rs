//! Header fields: the names that matter, which bytes are allowed, and a flat store for the fields of a message.

/// The fields that HTTP/2 or gRPC acts upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    /// Any other regular field.
    Other,
    /// `:authority`
    Authority,
    /// `:method`
    Method,
    /// `:path`
    Path,
    /// `:scheme`
    Scheme,
    /// `:status`
    Status,
    /// A pseudo-header field that nobody defined for us: always malformed (RFC 9113 §8.3).
    UnknownPseudo,
    /// `content-length`
    ContentLength,
    /// `content-type`
    ContentType,
    /// `te`
    Te,
    /// A field about the connection, malformed in HTTP/2 (RFC 9113 §8.2.2).
    Forbidden,
    /// `grpc-status`
    GrpcStatus,
    /// `grpc-message`
    GrpcMessage,
    /// `grpc-status-details-bin`
    GrpcDetails,
    /// `grpc-encoding`
    GrpcEncoding,
    /// `grpc-timeout`
    GrpcTimeout,
}

/// The tag of a name.
pub(super) fn classify(name: &[u8]) -> Name {
    match name {
        b":authority" => Name::Authority,
        b":method" => Name::Method,
        b":path" => Name::Path,
        b":scheme" => Name::Scheme,
        b":status" => Name::Status,
        [b':', ..] => Name::UnknownPseudo,
        b"content-length" => Name::ContentLength,
        b"content-type" => Name::ContentType,
        b"te" => Name::Te,
        b"connection" | b"keep-alive" | b"proxy-connection" | b"transfer-encoding" | b"upgrade" => {
            Name::Forbidden
        }
        b"grpc-status" => Name::GrpcStatus,
        b"grpc-message" => Name::GrpcMessage,
        b"grpc-status-details-bin" => Name::GrpcDetails,
        b"grpc-encoding" => Name::GrpcEncoding,
        b"grpc-timeout" => Name::GrpcTimeout,
        _ => Name::Other,
    }
}

/// Whether a name has only the bytes of a lower-case token, a colon at most in front (RFC 9113 §8.2.1).
pub(super) fn name_is_valid(name: &[u8]) -> bool {
    let name = name.strip_prefix(b":").unwrap_or(name);
    !name.is_empty() && name.iter().all(|&b| is_lower_token(b))
}

fn is_lower_token(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~')
}

/// Whether a value has no NUL, CR or LF and no white space at its ends (RFC 9113 §8.2.1).
pub(super) fn value_is_valid(value: &[u8]) -> bool {
    let blank = |b: Option<&u8>| matches!(b, Some(b' ' | b'\t'));
    !blank(value.first()) && !blank(value.last()) && !value.iter().any(|b| matches!(b, 0 | b'\r' | b'\n'))
}

#[derive(Clone, Copy, Debug)]
struct Span {
    tag: Name,
    never_indexed: bool,
    start: u32,
    name: u32,
    value: u32,
}

/// The fields of one message in one buffer, kept between messages: storing a field allocates nothing after warm-up.
#[derive(Clone, Debug, Default)]
pub struct Fields {
    bytes: Vec<u8>,
    spans: Vec<Span>,
}

/// A stored field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored<'a> {
    /// Which field it is.
    pub tag: Name,
    /// Lower-case name.
    pub name: &'a [u8],
    /// Value.
    pub value: &'a [u8],
    /// Whether it must stay out of every table, at the next hop too.
    pub never_indexed: bool,
}

impl Fields {
    /// Number of fields.
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// All fields in the order they came; pseudo-header fields first.
    pub fn iter(&self) -> impl Iterator<Item = Stored<'_>> {
        self.spans.iter().map(|span| self.stored(span))
    }

    /// The first value of a field that has a tag of its own.
    pub fn tagged(&self, tag: Name) -> Option<&[u8]> {
        self.spans.iter().find(|s| s.tag == tag).map(|s| self.stored(s).value)
    }

    /// The first value of the field with this lower-case name.
    pub fn named(&self, name: &[u8]) -> Option<&[u8]> {
        self.iter().find(|f| f.name == name).map(|f| f.value)
    }

    fn stored(&self, span: &Span) -> Stored<'_> {
        let start = span.start as usize;
        let both = self.bytes.get(start..start + span.name as usize + span.value as usize).unwrap_or(&[]);
        let (name, value) = both.split_at_checked(span.name as usize).unwrap_or((&[], &[]));
        Stored { tag: span.tag, name, value, never_indexed: span.never_indexed }
    }

    pub(super) fn push(&mut self, field: &super::hpack::Field<'_>) {
        self.spans.push(Span {
            tag: field.tag,
            never_indexed: field.never_indexed,
            start: self.bytes.len() as u32,
            name: field.name.len() as u32,
            value: field.value.len() as u32,
        });
        self.bytes.extend_from_slice(field.name);
        self.bytes.extend_from_slice(field.value);
    }

    /// Forgets the fields and keeps the memory, up to a page.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.spans.clear();
        if self.bytes.capacity() > 4096 {
            *self = Fields::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_lower_case_tokens() {
        for good in ["a", ":path", "x-a_b.c", "grpc-trace-bin", "!#$%&'*+-.^_`|~"] {
            assert!(name_is_valid(good.as_bytes()), "{good}");
        }
        for bad in ["", ":", "A", "a b", "a:b", "::a", "é", "a\0", "a\"", "a(", "a/", "a@", "a["] {
            assert!(!name_is_valid(bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn values_have_no_line_ends_and_no_outer_blanks() {
        for good in ["", "a", "a b", "\u{e9}", "a\tb"] {
            assert!(value_is_valid(good.as_bytes()), "{good:?}");
        }
        for bad in [" a", "a ", "\ta", "a\t", "a\0b", "a\rb", "a\nb", " "] {
            assert!(!value_is_valid(bad.as_bytes()), "{bad:?}");
        }
    }
}
