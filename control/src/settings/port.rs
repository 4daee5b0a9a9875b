//! Ports: as flags write them, and the internal port that stays the same between two starts (spec/resolution 1.1.4).

use ring::digest;

/// First port of the stable range.
const FIRST: u16 = 47_300;
/// How many ports the stable range has.
const RANGE: u16 = 65_535 - FIRST;

/// A port flag's text; empty is `None`, 0 stays 0.
///
/// # Errors
/// The text is no number below 65536; the message is daprd's.
pub(crate) fn parse(flag: &str, text: &str) -> Result<Option<u16>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse::<u16>().map(Some).map_err(|_| {
        format!("error parsing {flag}: {text:?} is not a port; expected a number from 0 to 65535 in --{flag}")
    })
}

/// The port for calls from other sidecars that an app on this host gets every time it starts in this directory.
pub(crate) fn stable(app_id: &str, directory: &str, uid: u32, host: &str) -> u16 {
    let seed = format!("{app_id}|{directory}|{uid}|{host}");
    match digest::digest(&digest::SHA256, seed.as_bytes()).as_ref() {
        [low, high, ..] => FIRST + u16::from_le_bytes([*low, *high]) % RANGE,
        _ => FIRST,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stable_port_depends_on_app_directory_user_and_host() {
        let port = stable("orders", "/srv", 1000, "box");
        assert_eq!(port, stable("orders", "/srv", 1000, "box"));
        let others = [
            stable("orders2", "/srv", 1000, "box"),
            stable("orders", "/srv2", 1000, "box"),
            stable("orders", "/srv", 1001, "box"),
            stable("orders", "/srv", 1000, "box2"),
        ];
        assert!(others.iter().all(|other| *other != port), "{port} {others:?}");
        assert!(port >= FIRST);
    }

    #[test]
    fn a_bad_port_is_refused_in_daprds_words_and_says_what_was_expected() {
        let said = parse("dapr-http-port", "x").unwrap_err();
        assert!(said.starts_with("error parsing dapr-http-port"), "{said}");
        assert_eq!(parse("app-port", ""), Ok(None));
        assert_eq!(parse("app-port", "0"), Ok(Some(0)));
        assert!(parse("app-port", "65536").is_err());
    }
}
