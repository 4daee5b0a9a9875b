//! Log lines of the data plane.
