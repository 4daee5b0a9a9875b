//! From a recorded case to scripts, and what was observed.

use super::http::{Answer, Send, Step};
use super::tokens::resolve;
use crate::http1::app;
use crate::http1::script::{End, Step as Play};
use std::collections::BTreeMap;
use std::time::Duration;

/// Values of the tokens known beforehand.
pub type Known = BTreeMap<String, String>;

/// What the client plays.
pub fn client_steps(send: &Send, known: &Known) -> Vec<Play> {
    if !send.steps.is_empty() {
        return send.steps.iter().map(|s| step(s, known)).collect();
    }
    if let Some(raw) = send.raw() {
        return vec![Play::Bytes(resolve(&raw, known))];
    }
    vec![Play::Bytes(request(send, known))]
}

fn request(send: &Send, known: &Known) -> Vec<u8> {
    let method = send.method.as_deref().expect("a method");
    let version = send.version.as_deref().unwrap_or("HTTP/1.1");
    let mut bytes = format!("{method} ").into_bytes();
    bytes.extend(resolve(&send.target.as_ref().expect("a target").bytes(), known));
    bytes.extend(format!(" {version}\r\n").bytes());
    for (name, value) in &send.headers {
        bytes.extend(name.bytes());
        bytes.extend(b": ");
        bytes.extend(resolve(&value.bytes(), known));
        bytes.extend(b"\r\n");
    }
    bytes.extend(b"\r\n");
    bytes.extend(resolve(&send.body(), known));
    bytes
}

/// What the app plays.
pub fn app_answer(answer: &Answer, known: &Known) -> app::Answer {
    app::Answer {
        steps: answer.steps.iter().map(|s| step(s, known)).collect(),
        at_head: answer.when.as_deref() == Some("head"),
        read: answer.read.unwrap_or(true),
    }
}

fn step(step: &Step, known: &Known) -> Play {
    if let Some(bytes) = step.bytes() {
        return Play::Bytes(resolve(&bytes, known));
    }
    if let Some(ms) = step.wait_ms {
        return Play::Wait(Duration::from_millis(ms));
    }
    match (step.awaits.as_deref(), step.end.as_deref()) {
        (Some("interim"), _) => Play::AwaitInterim,
        (Some("response"), _) => Play::AwaitResponse,
        (_, Some("half-close")) => Play::End(End::HalfClose),
        (_, Some("close")) => Play::End(End::Close),
        (_, Some("reset")) => Play::End(End::Reset),
        (_, Some("hold")) => Play::End(End::Hold),
        _ => panic!("an unknown step: {step:?}"),
    }
}
