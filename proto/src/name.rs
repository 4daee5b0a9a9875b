//! App ids: what may name an app.

use core::fmt;

/// Longest app id: Sentry's limit (spec/security 2.2).
pub const MAX_APP_ID: usize = 64;

/// Why a text is no app id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameError {
    /// Nothing.
    Empty,
    /// A dot separates the namespace in an address and cannot be part of an id.
    Dot,
    /// More than [`MAX_APP_ID`] bytes.
    TooLong(usize),
    /// A character that a SPIFFE ID cannot hold: such an app gets no certificate.
    Character(char),
}

impl NameError {
    /// Whether daprd refuses to start with it; the others it only fails on later.
    pub fn stops_daprd(self) -> bool {
        matches!(self, NameError::Empty | NameError::Dot)
    }
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NameError::Empty => f.write_str("parameter app-id cannot be empty"),
            NameError::Dot => f.write_str("parameter app-id cannot contain dots"),
            NameError::TooLong(length) => {
                write!(f, "app id has {length} bytes, at most {MAX_APP_ID} are allowed")
            }
            NameError::Character(character) => write!(
                f,
                "app id contains {character:?}; letters, digits, dashes and underscores are allowed"
            ),
        }
    }
}

impl core::error::Error for NameError {}

/// Judges an app id (without namespace). daprd's own checks come first.
///
/// # Errors
/// The first thing wrong.
pub fn validate(app_id: &str) -> Result<(), NameError> {
    if app_id.is_empty() {
        return Err(NameError::Empty);
    }
    if app_id.contains('.') {
        return Err(NameError::Dot);
    }
    if let Some(odd) =
        app_id.chars().find(|letter| !letter.is_ascii_alphanumeric() && !"-_".contains(*letter))
    {
        return Err(NameError::Character(odd));
    }
    if app_id.len() > MAX_APP_ID { Err(NameError::TooLong(app_id.len())) } else { Ok(()) }
}

/// Whether a text can name an app. What cannot need not be looked for.
pub fn is_valid(app_id: &str) -> bool {
    validate(app_id).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_names_are_app_ids() {
        for name in ["a", "orders", "hv-callee", "Order_Service2", &"n".repeat(64)] {
            assert_eq!(validate(name), Ok(()), "{name}");
        }
    }

    #[test]
    fn what_cannot_be_addressed_or_certified_is_no_app_id() {
        assert_eq!(validate(""), Err(NameError::Empty));
        assert_eq!(validate("a.b"), Err(NameError::Dot));
        assert_eq!(validate("a/b"), Err(NameError::Character('/')));
        assert_eq!(validate("café"), Err(NameError::Character('é')));
        assert_eq!(validate(&"n".repeat(65)), Err(NameError::TooLong(65)));
        assert!(NameError::Dot.stops_daprd() && !NameError::TooLong(65).stops_daprd());
    }
}
