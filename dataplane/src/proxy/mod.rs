//! The two stories: outbound and inbound.
