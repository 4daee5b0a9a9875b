//! One screen about a running sidecar.
