//! What leaves the sidecar about its calls: Prometheus text.
