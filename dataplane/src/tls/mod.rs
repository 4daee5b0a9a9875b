//! TLS between sidecars: rustls on chunks, peers by SPIFFE ID.
