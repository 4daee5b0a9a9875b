//! What one core owns.
