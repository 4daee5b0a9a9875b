//! Spellings that clap does not know: daprd's single-dash long flags, the executable's own name, verbs still to come.

use std::ffi::{OsStr, OsString};
use std::path::Path;

/// Rewrites the arguments to what clap reads: `-app-id x` becomes `--app-id x` for `run` and `daprd` (up to a `--`), and an
/// executable started under the name `daprd` or `sentry` gets that verb.
pub(super) fn normalise(mut arguments: Vec<OsString>) -> Vec<OsString> {
    let own_name = arguments.first().map(|path| file_name(path)).unwrap_or_default();
    if own_name == "daprd" || own_name == "sentry" {
        arguments.insert(1, own_name.into());
    }
    let takes_daprds_flags = arguments.get(1).is_some_and(|verb| verb == "run" || verb == "daprd");
    if takes_daprds_flags {
        double_dashes(&mut arguments);
    }
    arguments
}

fn file_name(path: &OsStr) -> String {
    Path::new(path).file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn double_dashes(arguments: &mut [OsString]) {
    for argument in arguments.iter_mut().skip(2) {
        if argument == "--" {
            return;
        }
        if is_single_dash_flag(argument) {
            let mut doubled = OsString::from("-");
            doubled.push(&*argument);
            *argument = doubled;
        }
    }
}

/// A dash, then a letter, then at least one more character: `-app-id`, but neither `-h` nor `-10`.
fn is_single_dash_flag(argument: &OsStr) -> bool {
    match argument.as_encoded_bytes() {
        [b'-', first, _, ..] => first.is_ascii_alphabetic(),
        _ => false,
    }
}

/// Verbs that are promised but not built: says so and gives the exit code.
pub(super) fn not_built_yet(arguments: &[OsString]) -> Option<i32> {
    let verb = arguments.get(1)?.to_str()?;
    let instead = match verb {
        "sentry" => {
            "certificates come from the own authority of `run`, or from issuer files with --issuer-credentials DIR"
        }
        "explain" => "`status` shows what a running sidecar knows, `check FILE` judges configuration files",
        "top" => "`status` shows the counts, and the metrics port has them as Prometheus text",
        _ => return None,
    };
    eprintln!("error: `outrigger {verb}` is not built yet; until it is, {instead}");
    Some(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spelled(line: &[&str]) -> Vec<OsString> {
        normalise(line.iter().map(OsString::from).collect())
    }

    #[test]
    fn single_dash_long_flags_are_doubled_up_to_the_app_command() {
        assert_eq!(
            spelled(&["outrigger", "run", "-app-id", "a", "-h", "-10", "--", "-app-id"]),
            ["outrigger", "run", "--app-id", "a", "-h", "-10", "--", "-app-id"]
        );
    }

    #[test]
    fn the_name_daprd_chooses_the_verb() {
        assert_eq!(spelled(&["/usr/bin/daprd", "-app-id=a"]), ["/usr/bin/daprd", "daprd", "--app-id=a"]);
    }

    #[test]
    fn other_verbs_keep_their_arguments() {
        assert_eq!(spelled(&["outrigger", "check", "-file"]), ["outrigger", "check", "-file"]);
    }

    #[test]
    fn verbs_to_come_end_with_code_two() {
        for verb in ["sentry", "explain", "top"] {
            assert_eq!(not_built_yet(&["outrigger".into(), verb.into()]), Some(2));
        }
        assert_eq!(not_built_yet(&["outrigger".into(), "run".into()]), None);
    }
}
