//! HTTP/1.1: heads, body framing, encoding, hop-by-hop rules (RFC 9110, RFC 9112).
