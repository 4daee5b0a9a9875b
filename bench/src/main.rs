//! What a call costs. `compare` measures Outrigger against its peers in turns within one run, `budgets` checks the ratios that
//! `budgets.json` allows, `load` drives any HTTP/1 server. How to read the numbers: `bench/README.md`.

mod account;
mod budgets;
mod compare;
mod host;
mod idle;
mod load;
mod peers;
mod reply;
mod report;
mod timer;
mod wire;

use clap::{Args, Parser, Subcommand};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Load generator and peer comparison for Outrigger.
#[derive(Parser)]
#[command(
    after_help = "Examples:\n  bench load 127.0.0.1:3500 /v1.0/invoke/orders/method/x --connections 32 --seconds 5\n  bench load 127.0.0.1:3500 / --connections 8 --rate 500 --seconds 10\n  bench compare --rounds 5 --json result.json\n  bench compare --cpu-only --also OTHER-BUILD --only '12 B' --rounds 15 --seconds 0.7\n  bench account\n  bench budgets --quick"
)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Drives one server and prints requests per second and latencies.
    Load(LoadArgs),
    /// Measures an Outrigger pair, an HAProxy pair and, with OUTRIGGER_PEERS, a daprd pair in turns.
    Compare(CompareArgs),
    /// Samples an Outrigger pair with perf and prints where a call's time goes.
    Account {
        /// Length of one turn.
        #[arg(long, default_value_t = 3.0)]
        seconds: f64,
    },
    /// Memory of idle client connections.
    Idle {
        /// How many.
        #[arg(long, default_value_t = 10_000)]
        connections: usize,
    },
    /// Compares and fails where a ratio is above its budget in bench/budgets.json.
    Budgets {
        /// Few short rounds.
        #[arg(long)]
        quick: bool,
    },
}

#[derive(Args)]
struct LoadArgs {
    /// IP:PORT
    target: SocketAddr,
    /// Path and query.
    #[arg(default_value = "/")]
    path: String,
    /// Bytes of a request body; without it the requests are GETs.
    #[arg(long, default_value_t = 0, conflicts_with = "grpc")]
    body: usize,
    /// Keep-alive connections, each with one request in flight.
    #[arg(long, default_value_t = 32)]
    connections: usize,
    /// Requests per second in all, sent on schedule whether or not answers came (open loop); without it each connection sends as soon
    /// as it has its answer (closed loop).
    #[arg(long)]
    rate: Option<f64>,
    /// How long.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Unary gRPC calls without TLS instead of HTTP/1; PATH is /package.Service/Method.
    #[arg(long)]
    grpc: bool,
    /// File with the encoded message of a gRPC call; without it the message is empty.
    #[arg(long, requires = "grpc")]
    message: Option<PathBuf>,
}

#[derive(Args)]
struct CompareArgs {
    /// Turns of each pair in each scenario.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Length of one turn.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Leaves the placement of processes to the kernel instead of one core for everything.
    #[arg(long)]
    unpinned: bool,
    /// Another Outrigger pair, whose app is on a Unix socket.
    #[arg(long)]
    unix_app: bool,
    /// Writes every number there.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Another Outrigger executable, as one more pair in the same rounds: another build against this one.
    #[arg(long, value_name = "PATH")]
    also: Option<PathBuf>,
    /// Only scenarios whose name contains this.
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,
    /// Only CPU: no latency at half load, no daprd pair.
    #[arg(long)]
    cpu_only: bool,
}

fn main() {
    let done = match Cli::parse().verb {
        Verb::Load(args) => load_once(&args),
        Verb::Compare(args) => compare(&args),
        Verb::Account { seconds } => account::run(Duration::from_secs_f64(seconds)),
        Verb::Idle { connections } => idle::run(connections),
        Verb::Budgets { quick } => budgets::check(quick),
    };
    if let Err(why) = done {
        eprintln!("bench: {why}");
        std::process::exit(1);
    }
}

fn load_once(args: &LoadArgs) -> Result<(), String> {
    let read = |path: &PathBuf| std::fs::read(path).map_err(|e| format!("{}: {e}", path.display()));
    let message = args.message.as_ref().map(read).transpose()?.unwrap_or_default();
    let plan = load::Plan {
        grpc: args.grpc.then_some(message),
        target: args.target,
        path: args.path.clone(),
        body: args.body,
        connections: args.connections,
        rate: args.rate,
        length: Duration::from_secs_f64(args.seconds),
    };
    let outcome = load::run(&plan).map_err(|e| format!("{}: {e}", args.target))?;
    println!("{outcome}");
    Ok(())
}

fn compare(args: &CompareArgs) -> Result<(), String> {
    let plan = compare::Plan {
        rounds: args.rounds,
        length: Duration::from_secs_f64(args.seconds),
        pinned: !args.unpinned,
        latency: !args.cpu_only,
        bodies: true,
        unix_app: args.unix_app,
        daprd: !args.cpu_only,
        also: args.also.clone(),
        only: args.only.clone(),
    };
    let results = compare::run(&plan)?;
    println!("{}", report::text(&results));
    if let Some(path) = &args.json {
        let text = serde_json::to_string_pretty(&results).map_err(|e| e.to_string())?;
        std::fs::write(path, text).map_err(|e| format!("{}: {e}", path.display()))?;
    }
    Ok(())
}
