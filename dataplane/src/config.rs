//! What the data plane process is started with.
