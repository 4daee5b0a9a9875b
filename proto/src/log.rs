//! One log line in daprd's text and JSON form (spec/invocation 6.4).
