//! OpenSSL as the other end.
