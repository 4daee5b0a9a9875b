//! W3C trace contexts and their binary form.
