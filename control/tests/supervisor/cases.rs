//! The cases, one function each.

use control::settings::Settings;
use rig::scratch::Scratch;
use rig::sidecar::{local, send_signal};
use rig::{Launch, Sidecar, wait};
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(10);
const SIGHUP: i32 = 1;
const SIGINT: i32 = 2;
const SIGKILL: i32 = 9;
const SIGTERM: i32 = 15;

pub(crate) const ALL: [(&str, fn()); 18] = [
    ("start_and_end_have_daprds_marker_lines_in_order", marker_lines),
    ("log_lines_are_json_when_asked_for", json_lines),
    ("data_plane_ends_before_control_and_the_runtime_directory_is_gone", order_of_the_end),
    ("an_apps_exit_code_is_passed_on_and_it_knows_its_sidecar", exit_code),
    ("an_app_that_cannot_be_started_ends_the_sidecar_with_the_shells_code", no_such_app),
    ("an_app_inherits_no_listening_socket", no_leaked_sockets),
    ("a_killed_child_comes_back_and_no_connection_attempt_is_lost", killed_children),
    ("a_killed_supervisor_leaves_nothing_behind", killed_supervisor),
    ("a_second_signal_ends_everything_at_once_with_code_one", second_signal),
    ("the_grace_period_bounds_a_shutdown", grace),
    ("a_refused_configuration_ends_the_start_with_code_one", refused_configuration),
    ("a_data_plane_that_cannot_start_ends_the_sidecar_with_its_code", given_up),
    ("a_port_in_use_ends_the_start_at_once_and_names_its_holder", port_in_use),
    ("a_data_plane_that_ends_by_itself_with_zero_ends_the_sidecar", shutdown_api),
    ("a_hangup_reads_the_configuration_again_and_a_bad_one_is_refused", reload),
    ("a_mistake_in_a_file_stops_run_and_not_daprd", strictness),
    ("missing_issuer_files_end_the_start_and_are_named", issuer_files),
    ("the_log_goes_into_a_file_when_asked_for", log_file),
];

/// Sidecars of one case and their folder. Their ports are any free ones.
struct Stage {
    scratch: Scratch,
}

impl Stage {
    fn new() -> Stage {
        Stage { scratch: Scratch::new() }
    }

    fn notes(&self) -> Vec<String> {
        let text = fs::read_to_string(self.scratch.path().join("notes")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn launch(&self, verb: &str) -> Launch {
        let scratch = self.scratch.path().to_string_lossy().into_owned();
        Launch::new(std::env::current_exe().unwrap())
            .arg(verb)
            .args(["--app-id", "orders", "--mdns", "off", "--dapr-internal-grpc-listen-address", "127.0.0.1"])
            .args(["--dapr-http-port", "0", "--metrics-port", "0", "--metrics-listen-address", "127.0.0.1"])
            .env("XDG_RUNTIME_DIR", &scratch)
            .env("XDG_STATE_HOME", &scratch)
            .env("FAKE_NOTES", format!("{scratch}/notes"))
            .named(verb)
    }

    /// Waits until a sidecar is ready and says what was decided.
    fn ready(&self, sidecar: &mut Sidecar) -> Settings {
        let settings = wait::within(LIMIT, || {
            assert!(sidecar.has_ended().is_none(), "it ended:\n{}", sidecar.tail());
            let settings = Settings::load(self.runtime_dirs().first()?).ok()?;
            let status = rig::http1::client::status(http(&settings), "/v1.0/healthz/outbound");
            (status == Some(204) && sidecar.output().contains("dapr initialized")).then_some(settings)
        });
        settings.unwrap_or_else(|| panic!("not ready:\n{}", sidecar.tail()))
    }

    /// A running sidecar.
    fn start(&self, launch: Launch) -> (Sidecar, Settings) {
        let mut sidecar = launch.spawn();
        let settings = self.ready(&mut sidecar);
        (sidecar, settings)
    }

    fn runtime_dirs(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.scratch.path().join("outrigger")).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
    }
}

fn http(settings: &Settings) -> SocketAddr {
    local(settings.ports.http.unwrap_or_default())
}

fn says(sidecar: &Sidecar, words: &str) {
    wait::until(LIMIT, &format!("{words:?} in the output, which is\n{}", sidecar.tail()), || {
        sidecar.output().contains(words)
    });
}

fn ends_with(sidecar: &mut Sidecar, code: i32) {
    let ended = sidecar.ends_within(LIMIT).unwrap_or_else(|| panic!("no end:\n{}", sidecar.tail()));
    assert_eq!(ended.code(), Some(code), "{}", sidecar.tail());
}

fn is_alive(id: u32) -> bool {
    // A zombie is gone for all purposes but its parent's.
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

fn marker_lines() {
    let stage = Stage::new();
    let (mut sidecar, settings) = stage.start(stage.launch("daprd"));
    sidecar.signal(SIGTERM);
    ends_with(&mut sidecar, 0);
    let (http, internal) = (settings.ports.http.unwrap(), settings.ports.internal);
    let metrics = settings.metrics.unwrap().port;
    let output = sidecar.output();
    let mut rest = output.as_str();
    for marker in [
        "level=info msg=\"Starting Dapr Runtime -- version ".to_owned(),
        "level=info msg=\"Log level set to: info\" app_id=orders instance=".to_owned(),
        "level=warning msg=\"mTLS is disabled. Skipping certificate request and tls validation\"".to_owned(),
        "msg=\"standalone mode configured\"".to_owned(),
        "msg=\"app id: orders\"".to_owned(),
        "msg=\"Dapr trace sampler initialized: ParentBased{root:TraceIDRatioBased{0.0001},".to_owned(),
        "msg=\"Initialized name resolution to registry\"".to_owned(),
        "level=warning msg=\"App channel is not initialized. Did you configure an app-port?\"".to_owned(),
        format!("msg=\"HTTP server is running on port {http}\""),
        format!("msg=\"Internal gRPC server is running on 127.0.0.1:{internal}\""),
        format!("msg=\"metrics server started on 127.0.0.1:{metrics}/\""),
        "msg=\"dapr initialized. Status: Running. Init Elapsed ".to_owned(),
        "msg=\"Received signal 'terminated'; beginning shutdown\"".to_owned(),
        "msg=\"Dapr is shutting down\"".to_owned(),
        "msg=\"Dapr runtime stopped\"".to_owned(),
        "msg=\"Daprd shutdown gracefully\"".to_owned(),
    ] {
        let at = rest.find(&marker).unwrap_or_else(|| panic!("{marker} is missing or too early:\n{output}"));
        rest = &rest[at..];
    }
}

fn json_lines() {
    let stage = Stage::new();
    let (mut sidecar, _) = stage.start(stage.launch("daprd").arg("-log-as-json"));
    assert_eq!(sidecar.terminate().and_then(|end| end.code()), Some(0));
    for line in sidecar.output().lines() {
        assert!(line.starts_with("{\"app_id\":\"orders\",") && line.ends_with('}'), "{line}");
    }
}

fn order_of_the_end() {
    // A terminal's Ctrl-C goes to the whole foreground group; only the supervisor is in it.
    for (signal, whole_group) in [(SIGTERM, false), (SIGINT, true)] {
        let stage = Stage::new();
        let (mut sidecar, settings) = stage.start(stage.launch("daprd"));
        wait::until(LIMIT, "control is up", || stage.notes().len() >= 3);
        assert_eq!(stage.runtime_dirs().len(), 1);
        let id = sidecar.id() as i32;
        send_signal(if whole_group { -id } else { id }, signal);
        ends_with(&mut sidecar, 0);
        let notes = stage.notes();
        assert_eq!(notes[notes.len() - 3..], ["draining", "data plane ended", "control ended"]);
        assert!(notes.contains(&format!("metrics {}", settings.metrics.unwrap().port)), "{notes:?}");
        assert!(stage.runtime_dirs().is_empty());
    }
}

fn exit_code() {
    let stage = Stage::new();
    let script = "echo \"knows $APP_ID $APP_PORT $APP_PROTOCOL $DAPR_HTTP_PORT $DAPR_GRPC_PORT\"; exit 7";
    let line = ["--app-port", "4711", "--", "sh", "-c", script];
    let mut sidecar = stage.launch("run").args(line).spawn();
    ends_with(&mut sidecar, 7);
    let output = sidecar.output();
    let (_, port) = output.split_once("HTTP server is running on port ").unwrap();
    let knows = format!("knows orders 4711 http {} 50001", port.split('"').next().unwrap());
    assert!(output.contains(&knows), "{output}");
    // Control may have ended before it listened for signals; the data plane served and drained.
    assert!(stage.notes().contains(&"data plane ended".to_owned()), "{:?}", stage.notes());
}

fn no_such_app() {
    for (program, code) in [("/nonexistent/app", 127), ("/etc/hostname", 126)] {
        let stage = Stage::new();
        let mut sidecar = stage.launch("run").args(["--", program]).spawn();
        ends_with(&mut sidecar, code);
        assert!(sidecar.output().contains(&format!("{program} cannot be started")), "{}", sidecar.tail());
    }
}

fn no_leaked_sockets() {
    let stage = Stage::new();
    let script = "ls -l /proc/self/fd; exit 0";
    let mut sidecar = stage.launch("run").args(["--", "sh", "-c", script]).spawn();
    ends_with(&mut sidecar, 0);
    let output = sidecar.output();
    assert!(output.contains("/dev/null") && !output.contains("socket:"), "{output}");
}

fn killed_children() {
    let stage = Stage::new();
    let (mut sidecar, settings) = stage.start(stage.launch("daprd"));
    for verb in ["control", "dataplane"] {
        let first = wait::some(LIMIT, verb, || sidecar.process_with(verb));
        send_signal(first as i32, SIGKILL);
        if verb == "dataplane" {
            // The socket is the supervisor's: this waits for the next data plane and is not refused.
            wait::until(LIMIT, "a gone data plane", || !is_alive(first));
            assert_eq!(rig::http1::client::status(http(&settings), "/"), Some(204));
        }
        wait::until(LIMIT, "a new process", || sidecar.process_with(verb).is_some_and(|id| id != first));
    }
    assert!(sidecar.output().contains("the data plane ended unasked (signal 9); starting it again at once"));
    assert_eq!(sidecar.terminate().and_then(|end| end.code()), Some(0));
}

fn killed_supervisor() {
    let stage = Stage::new();
    // The app has a child of its own, as npm or a shell script has.
    let line = ["--", "sh", "-c", "sleep 1000 & echo app is up; wait"];
    let (mut sidecar, _) = stage.start(stage.launch("run").args(line));
    says(&sidecar, "app is up");
    let family = sidecar.processes();
    assert_eq!(family.len(), 6, "supervisor, control, data plane, keeper, sh, sleep: {family:?}");
    sidecar.kill();
    for id in family {
        wait::until(LIMIT, "the end of all processes", || !is_alive(id));
    }
    assert_eq!(stage.runtime_dirs().len(), 1, "left by the dead");
    let mut next = stage.launch("daprd").spawn();
    says(&next, "dapr initialized");
    assert_eq!(stage.runtime_dirs().len(), 1, "cleared away by the next");
    next.terminate();
}

fn second_signal() {
    let stage = Stage::new();
    let (mut sidecar, _) = stage.start(stage.launch("daprd").env("FAKE", "data-plane-hangs"));
    let family = sidecar.processes();
    sidecar.signal(SIGTERM);
    wait::until(LIMIT, "draining", || stage.notes().iter().any(|note| note == "draining"));
    assert!(sidecar.has_ended().is_none());
    sidecar.signal(SIGTERM);
    ends_with(&mut sidecar, 1);
    assert!(family.into_iter().all(|id| !is_alive(id)));
}

fn grace() {
    let stage = Stage::new();
    let line = ["--dapr-graceful-shutdown-seconds", "1"];
    let (mut sidecar, _) = stage.start(stage.launch("daprd").args(line).env("FAKE", "data-plane-hangs"));
    sidecar.signal(SIGTERM);
    ends_with(&mut sidecar, 1);
    assert!(sidecar.output().contains("Graceful shutdown timeout exceeded, forcing shutdown"));
}

fn refused_configuration() {
    let stage = Stage::new();
    let launch = stage.launch("daprd").env("FAKE", "control-exit=78");
    let mut sidecar = launch.spawn();
    ends_with(&mut sidecar, 1);
    let expected = "level=error msg=\"the control process refused to start";
    assert!(sidecar.output().contains(expected), "{}", sidecar.tail());
    assert_eq!(stage.notes().iter().filter(|note| *note == "control started").count(), 1);
}

fn given_up() {
    let stage = Stage::new();
    let launch = stage.launch("daprd").env("FAKE", "data-plane-exit=9");
    let mut sidecar = launch.spawn();
    ends_with(&mut sidecar, 9);
    assert_eq!(stage.notes().iter().filter(|note| *note == "data plane started").count(), 3);
    assert!(sidecar.output().contains("the data plane ended too often"), "{}", sidecar.tail());
}

fn port_in_use() {
    for flag in ["dapr-http-port", "dapr-internal-grpc-port", "metrics-port"] {
        let stage = Stage::new();
        let taken = TcpListener::bind(local(0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let begun = Instant::now();
        let mut sidecar = stage.launch("run").args([format!("--{flag}"), port.to_string()]).spawn();
        ends_with(&mut sidecar, 1);
        assert!(begun.elapsed() < Duration::from_secs(5), "at once, not after retries");
        let expected =
            format!("error: --{flag}: 127.0.0.1:{port} is in use by process {}", std::process::id());
        assert!(sidecar.output().contains(&expected), "{}", sidecar.tail());
    }
}

fn shutdown_api() {
    let stage = Stage::new();
    let (mut sidecar, settings) = stage.start(stage.launch("daprd"));
    assert_eq!(rig::http1::client::status(http(&settings), "/stop"), None);
    ends_with(&mut sidecar, 0);
    assert!(sidecar.output().contains("Daprd shutdown gracefully"), "{}", sidecar.tail());
}

fn reload() {
    let stage = Stage::new();
    let with_rate = |rate: &str| format!("spec:\n  tracing:\n    samplingRate: \"{rate}\"\n");
    let file = stage.scratch.file("config.yaml", with_rate("0.25"));
    let (mut sidecar, _) = stage.start(stage.launch("daprd").args(["--config", &file.to_string_lossy()]));
    let rates = |stage: &Stage| -> Vec<String> {
        stage.notes().into_iter().filter(|note| note.starts_with("rate ")).collect()
    };
    wait::until(LIMIT, "control is up", || rates(&stage) == ["rate 0.25"]);
    stage.scratch.file("config.yaml", with_rate("0.75"));
    sidecar.signal(SIGHUP);
    wait::until(LIMIT, "the new rate", || rates(&stage) == ["rate 0.25", "rate 0.75"]);
    stage.scratch.file("config.yaml", "spec: [");
    sidecar.signal(SIGHUP);
    says(&sidecar, "the old configuration stays: error loading configuration: ");
    assert_eq!(rates(&stage).len(), 2);
    assert_eq!(sidecar.terminate().and_then(|end| end.code()), Some(0));
}

fn strictness() {
    let stage = Stage::new();
    let file = stage.scratch.file("config.yaml", "spec:\n  tracin: {}\n");
    let place = format!("{}:2:3: unknown setting \"tracin\" in spec", file.display());
    let line = ["--config", &*file.to_string_lossy()];
    let mut strict = stage.launch("run").args(line).spawn();
    ends_with(&mut strict, 1);
    assert!(strict.output().contains(&place), "{}", strict.tail());
    let (mut lenient, _) = stage.start(stage.launch("daprd").args(line));
    assert!(lenient.output().contains(&place.replace('"', "\\\"")), "{}", lenient.tail());
    assert_eq!(lenient.terminate().and_then(|end| end.code()), Some(0));
}

fn log_file() {
    let stage = Stage::new();
    let log = stage.scratch.path().join("log");
    let mut sidecar = stage.launch("daprd").args(["--log-file", &log.to_string_lossy()]).spawn();
    wait::until(LIMIT, "the last line", || {
        fs::read_to_string(&log).is_ok_and(|text| text.contains("dapr initialized"))
    });
    assert_eq!(sidecar.terminate().and_then(|end| end.code()), Some(0));
    assert_eq!(sidecar.output(), "");
}

fn issuer_files() {
    let stage = Stage::new();
    let file = stage.scratch.file("certs/ca.crt", "");
    let folder = file.parent().unwrap().to_string_lossy().into_owned();
    let line = ["--enable-mtls", "--issuer-credentials", &folder];
    let mut sidecar = stage.launch("daprd").args(line).spawn();
    ends_with(&mut sidecar, 1);
    let expected = format!("--issuer-credentials: {folder}/issuer.crt is not there");
    assert!(sidecar.output().contains(&expected), "{}", sidecar.tail());
}
