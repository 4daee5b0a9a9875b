//! A sans-IO HTTP/2 connection for the mesh hop (RFC 9113, RFC 7541).
