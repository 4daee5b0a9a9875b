//! The demo: two apps, two sidecars, one call on screen.
