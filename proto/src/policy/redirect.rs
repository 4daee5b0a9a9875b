//! Which redirects of an external endpoint are followed, and how (corrections 6, compat.md; as Go's client does).

/// Most requests of one call: after the tenth redirect it fails.
pub const MOST: u32 = 10;

/// How the next request is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follow {
    /// The same verb; there is no body.
    Same,
    /// GET, without the body and what described it.
    AsGet,
}

/// Whether an answer of `status` to a request of `verb` is followed. `bodyless`: the request has no body. `None`: the
/// answer is passed on as it is.
pub fn follow(status: u16, verb: &str, bodyless: bool) -> Option<Follow> {
    match (status, verb) {
        (301..=303, "GET" | "HEAD") => Some(Follow::Same),
        (301..=303, _) => Some(Follow::AsGet),
        (307 | 308, _) if bodyless => Some(Follow::Same),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_are_followed_as_gos_client_does() {
        for (status, verb, bodyless, followed) in [
            (302, "GET", true, Some(Follow::Same)),
            (303, "HEAD", true, Some(Follow::Same)),
            (302, "POST", false, Some(Follow::AsGet)),
            (301, "DELETE", true, Some(Follow::AsGet)),
            (307, "POST", false, None),
            (308, "GET", true, Some(Follow::Same)),
            (304, "GET", true, None),
            (300, "GET", true, None),
            (200, "GET", true, None),
        ] {
            assert_eq!(follow(status, verb, bodyless), followed, "{status} {verb} {bodyless}");
        }
    }
}
