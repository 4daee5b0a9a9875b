//! Finding the sidecars of an app by name.
