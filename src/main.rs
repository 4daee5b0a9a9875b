//! Which process am I? Nothing else stands here.

use control::cli::{self, Command, DataplaneArgs};
use dataplane::config::Config;
use std::process::exit;

fn main() {
    exit(match cli::parse(std::env::args_os()) {
        Command::Dataplane(arguments) => data_plane(&arguments),
        other => cli::perform(other),
    })
}

fn data_plane(arguments: &DataplaneArgs) -> i32 {
    if let Err(reason) = control::supervisor::follow("outrigger-data", arguments.parent) {
        return cli::complain(&reason);
    }
    match Config::from_args(arguments.own_terms()) {
        Ok(config) => dataplane::run(config),
        Err(mistake) => cli::complain(&mistake.to_string()),
    }
}
