//! The certificate authority: root, issuer, workload certificates (spec/security 1.4).
