//! What a call means: target, method, headers, failure and its one answer.
