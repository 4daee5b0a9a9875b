//! gRPC over HTTP/2: message framing, status codes, metadata.
