//! The command line: what was asked for, and the verbs that need no other process.

mod check;
mod explain_errors;
pub mod flags;
pub(crate) mod paint;
mod screen;
mod shell;
mod spelling;
pub mod values;
mod verbs;

pub use verbs::{CheckArgs, DataplaneArgs, DemoArgs, RoleAt, StatusArgs, SuperviseArgs};

pub(crate) use shell::VERSION;

use clap::{ArgMatches, CommandFactory, FromArgMatches, parser::ValueSource};
use std::ffi::OsString;
use std::path::PathBuf;
use verbs::{Cli, Verb};

/// What this process is to be.
#[derive(Debug)]
pub enum Command {
    /// A sidecar: `run` or `daprd`.
    Supervise(Box<SuperviseArgs>),
    /// The control process of a sidecar (started by the supervisor).
    Control {
        /// The private runtime directory.
        runtime: PathBuf,
        /// Process that must be the parent; dies with it.
        parent: Option<u32>,
    },
    /// The data plane of a sidecar (started by the supervisor, or by somebody else's control process).
    Dataplane(Box<DataplaneArgs>),
    /// Kills the process groups it was told about once its standard input ends (started by the supervisor).
    Keep,
    /// Two apps and two sidecars.
    Demo(DemoArgs),
    /// One screen about a running sidecar.
    Status(StatusArgs),
    /// Strict check of configuration files.
    Check(CheckArgs),
    /// Everything was said while parsing; exit with this code.
    Done(i32),
}

/// Reads the command line; the executable's own name decides too: started as `daprd` it takes daprd's flags.
/// Help, usage errors and what only prints are done here and come back as [`Command::Done`].
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Command {
    let arguments = spelling::normalise(arguments.into_iter().collect());
    if let Some(code) = spelling::not_built_yet(&arguments) {
        return Command::Done(code);
    }
    let matches = match command().try_get_matches_from(&arguments) {
        Ok(matches) => matches,
        Err(error) => return Command::Done(explain_errors::print(&error)),
    };
    match Cli::from_arg_matches(&matches) {
        Ok(cli) => chosen(cli.verb, &matches),
        Err(error) => Command::Done(explain_errors::print(&error)),
    }
}

/// The whole command line as clap describes it; man page, completions and tests read it.
pub fn command() -> clap::Command {
    Cli::command()
}

/// Does what needs neither supervisor nor data plane; returns the exit code.
pub fn perform(command: Command) -> i32 {
    match command {
        Command::Supervise(arguments) => crate::supervisor::run(&arguments),
        Command::Control { parent, runtime } => match crate::supervisor::follow("outrigger-ctl", parent) {
            Ok(()) => crate::process::run(&runtime, parent.is_some()),
            Err(reason) => complain(&reason),
        },
        Command::Keep => crate::supervisor::keep(),
        Command::Demo(arguments) => crate::demo::run(&arguments),
        Command::Status(arguments) => screen::run(&arguments),
        Command::Check(arguments) => check::run(&arguments),
        Command::Done(code) => code,
        Command::Dataplane(_) => complain("the data plane is a process of its own and not part of control"),
    }
}

/// Writes to standard output; returns the exit code. A closed pipe (`… | head`) is not an error worth words.
pub(crate) fn out(text: &str) -> i32 {
    use std::io::{ErrorKind, Write};
    match std::io::stdout().write_all(text.as_bytes()).and_then(|()| std::io::stdout().flush()) {
        Ok(()) => 0,
        Err(error) if error.kind() == ErrorKind::BrokenPipe => 0,
        Err(error) => complain(&format!("standard output cannot be written: {error}")),
    }
}

/// One error line on standard error; returns exit code 1.
pub fn complain(reason: &str) -> i32 {
    eprintln!("error: {reason}");
    1
}

fn chosen(verb: Verb, matches: &ArgMatches) -> Command {
    match verb {
        Verb::Run(mut run) => {
            run.flags.given = given(matches);
            shell::daprd_prints(&run.flags)
                .map_or_else(|| Command::Supervise(Box::new(run.into())), Command::Done)
        }
        Verb::Daprd(mut daprd) => {
            daprd.flags.given = given(matches);
            shell::daprd_prints(&daprd.flags)
                .map_or_else(|| Command::Supervise(Box::new(daprd.into())), Command::Done)
        }
        Verb::Control(control) => Command::Control { runtime: control.runtime, parent: control.parent },
        Verb::Dataplane(dataplane) => Command::Dataplane(Box::new(dataplane)),
        Verb::Keep => Command::Keep,
        Verb::Demo(demo) => Command::Demo(demo),
        Verb::Status(status) => Command::Status(status),
        Verb::Check(check) => Command::Check(check),
        Verb::Version => Command::Done(shell::version()),
        Verb::Completions { shell } => Command::Done(shell::completions(shell)),
        Verb::Man { verb } => Command::Done(shell::man(verb.as_deref())),
    }
}

/// Long names of the flags that stood on the command line, sorted.
fn given(matches: &ArgMatches) -> Vec<String> {
    let Some((_, matches)) = matches.subcommand() else { return Vec::new() };
    // Groups (named after their structs, with a capital) also count as given.
    let from_line = |id: &&str| {
        id.starts_with(|c: char| c.is_ascii_lowercase())
            && matches.value_source(id) == Some(ValueSource::CommandLine)
    };
    let mut names: Vec<String> = matches
        .ids()
        .map(clap::Id::as_str)
        .filter(from_line)
        .map(|id| if id == "print_version" { "version".to_owned() } else { id.replace('_', "-") })
        .collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests;
