//! The workload's own certificate: obtained, renewed at half its life, pushed.
