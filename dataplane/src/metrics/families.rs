//! The families of the data plane under daprd's names (spec/resolution 5.3, 5.5) and our own.

use super::series::{Group, Metric, Shape, closed, open};

/// daprd's latency bounds in milliseconds, and finer ones below 1 ms.
const LATENCY_MS: &[f64] = &[
    0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 13.0, 16.0, 20.0, 25.0, 30.0,
    40.0, 50.0, 65.0, 80.0, 100.0, 130.0, 160.0, 200.0, 250.0, 300.0, 400.0, 500.0, 650.0, 800.0, 1000.0,
    2000.0, 5000.0, 10000.0, 20000.0, 50000.0, 100_000.0,
];

/// daprd's size bounds in bytes.
const BYTES: &[f64] = &[
    1024.0,
    2048.0,
    4096.0,
    16384.0,
    65536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    67_108_864.0,
    268_435_456.0,
    1_073_741_824.0,
    4_294_967_296.0,
];

const fn counter(name: &'static str, help: &'static str) -> Metric {
    Metric { name, help, shape: Shape::Counter }
}

const fn latency(name: &'static str, help: &'static str) -> Metric {
    Metric { name, help, shape: Shape::Histogram(LATENCY_MS) }
}

const fn bytes(name: &'static str, help: &'static str) -> Metric {
    Metric { name, help, shape: Shape::Histogram(BYTES) }
}

/// Groups by their place in [`GROUPS`].
#[derive(Clone, Copy, Debug)]
pub(crate) enum In {
    Server,
    ServerBytes,
    Client,
    ClientSent,
    ClientReceived,
    ReqSent,
    ResRecv,
    ResRecvLatency,
    ReqRecv,
    ResSent,
    Failures,
    Retries,
    /// What a pipeline refused.
    Refusals,
    Own,
    Limits,
}

/// All groups, in the order of [`In`].
pub(crate) static GROUPS: [Group; 15] = [
    Group {
        labels: &[closed("method"), open("path"), closed("status")],
        metrics: &[
            counter("dapr_http_server_request_count", "Requests to the HTTP API."),
            latency("dapr_http_server_latency", "Time from request head to end of response, in ms."),
            counter("dapr_http_server_response_count", "Responses of the HTTP API."),
        ],
    },
    Group {
        labels: &[],
        metrics: &[
            bytes("dapr_http_server_request_bytes", "Body bytes of requests to the HTTP API."),
            bytes("dapr_http_server_response_bytes", "Body bytes of responses of the HTTP API."),
        ],
    },
    Group {
        labels: &[closed("method"), open("path"), closed("status")],
        metrics: &[
            counter("dapr_http_client_completed_count", "Calls to the HTTP app."),
            latency(
                "dapr_http_client_roundtrip_latency",
                "Time from request to response head of the app, in ms.",
            ),
        ],
    },
    Group {
        labels: &[closed("method"), open("path"), closed("status")],
        metrics: &[bytes("dapr_http_client_sent_bytes", "Body bytes of requests to the HTTP app.")],
    },
    Group {
        labels: &[],
        metrics: &[bytes("dapr_http_client_received_bytes", "Body bytes of responses of the HTTP app.")],
    },
    Group {
        labels: &[open("dst_app_id"), closed("type")],
        metrics: &[counter(
            "dapr_runtime_service_invocation_req_sent_total",
            "Attempts sent to other sidecars.",
        )],
    },
    Group {
        labels: &[open("src_app_id"), closed("status"), closed("type")],
        metrics: &[counter(
            "dapr_runtime_service_invocation_res_recv_total",
            "Responses from other sidecars.",
        )],
    },
    Group {
        labels: &[open("src_app_id"), closed("status")],
        metrics: &[latency(
            "dapr_runtime_service_invocation_res_recv_latency_ms",
            "Time from attempt to response head of another sidecar, in ms.",
        )],
    },
    Group {
        labels: &[open("src_app_id")],
        metrics: &[counter("dapr_runtime_service_invocation_req_recv_total", "Calls from other sidecars.")],
    },
    Group {
        labels: &[open("dst_app_id"), closed("status")],
        metrics: &[counter("dapr_runtime_service_invocation_res_sent_total", "Answers to other sidecars.")],
    },
    Group {
        labels: &[closed("side"), closed("phase"), closed("kind")],
        metrics: &[counter("outrigger_failures_total", "Calls that failed in a sidecar, by where and how.")],
    },
    Group {
        labels: &[closed("why")],
        metrics: &[counter("outrigger_retries_total", "Further attempts, and those that were not made.")],
    },
    Group {
        labels: &[closed("why")],
        metrics: &[counter("outrigger_refusals_total", "Requests that an HTTP pipeline refused, and why.")],
    },
    Group {
        labels: &[closed("event")],
        metrics: &[counter("outrigger_events_total", "What happened to connections and limits.")],
    },
    Group {
        labels: &[closed("limit")],
        metrics: &[counter("outrigger_limits_total", "How often a limit was reached, by its name.")],
    },
];
