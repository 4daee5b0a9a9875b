//! What the APIs of building blocks answer that are not configured: the same as a daprd without components, so that SDKs
//! see the error they know (spec/invocation 5.6, corrections 15; vectors routes/).

mod body;

use crate::invoke::quote;
use body::{Field, Kind, Reads, Said, Shape, field};

/// A building block by its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Block {
    /// Actors, and workflows, which are made of them: requests whose body the app reads.
    Actors,
    /// Reminders and timers.
    ActorReminder,
    ActorState,
    Bindings,
    Configuration,
    Conversation,
    Crypto,
    Jobs,
    Lock,
    Publish,
    Secrets,
    State,
    StateQuery,
    SubtleCrypto,
    Unlock,
    /// Pausing, resuming, ending and removing a workflow.
    WorkflowChange,
}

/// A question to a building block.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The HTTP verb.
    pub verb: &'a str,
    /// Name of the store, component or job, decoded.
    pub name: &'a str,
    /// The request's body, where it is whole: what is wrong with it comes before what is missing. `None`: nobody looked.
    pub body: Option<&'a [u8]>,
    /// The own app id.
    pub app_id: &'a str,
    /// The own namespace.
    pub namespace: &'a str,
}

/// An answer: status and JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The JSON.
    pub body: Vec<u8>,
}

impl Block {
    /// Whether the answer depends on the request's body.
    pub fn looks_at_body(self, verb: &str) -> bool {
        !matches!(self.reads(verb), Reads::Anything)
    }

    /// How the body of a request is read, before anything else is looked for.
    fn reads(self, verb: &str) -> Reads {
        match (self, verb) {
            (Block::ActorReminder, "DELETE") | (Block::SubtleCrypto | Block::WorkflowChange, _) => {
                Reads::Protobuf(&[])
            }
            (Block::ActorReminder, "POST" | "PUT") => Reads::Go(Shape::Object, REMINDER),
            (Block::ActorState, _) => Reads::Go(Shape::Array, &[]),
            (Block::Bindings, _) => Reads::Go(Shape::Object, BINDING),
            (Block::Conversation, _) => Reads::Protobuf(CONVERSATION),
            (Block::Jobs, "POST") => Reads::Protobuf(JOB),
            (Block::Lock, _) => Reads::Protobuf(LOCK),
            (Block::Unlock, _) => Reads::Protobuf(UNLOCK),
            _ => Reads::Anything,
        }
    }

    /// The answer.
    pub fn answer(self, asked: &Question<'_>) -> Answer {
        let text = String::from_utf8_lossy(asked.body.unwrap_or_default());
        let reads = if asked.body.is_some() { self.reads(asked.verb) } else { Reads::Anything };
        match reads.read(&text) {
            Ok(said) => self.missing(asked, &said),
            Err(why) => {
                let text = format!("failed deserializing HTTP body: {why}");
                plain(400, "ERR_MALFORMED_REQUEST", &text)
            }
        }
    }

    /// The answer to a request that could be served if the block were there.
    fn missing(self, asked: &Question<'_>, said: &Said<'_>) -> Answer {
        let name = asked.name;
        match self {
            Block::Actors | Block::ActorReminder | Block::ActorState | Block::WorkflowChange => {
                plain(400, "ERR_ACTOR_NO_PLACEMENT", "placement service is not configured")
            }
            Block::Bindings => bindings(asked, said),
            Block::Configuration => {
                plain(500, "ERR_CONFIGURATION_STORE_NOT_CONFIGURED", "configuration stores not configured")
            }
            Block::Conversation => plain(
                400,
                "ERR_CONVERSATION_NOT_FOUND",
                &format!("failed finding conversation component {name}"),
            ),
            Block::Crypto => {
                plain(500, "ERR_CRYPTO_PROVIDERS_NOT_CONFIGURED", "crypto providers not configured")
            }
            Block::Jobs => jobs(asked, said),
            Block::Lock if asked.body.is_some() && said.number("expiryInSeconds") <= 0 => {
                let text = format!("ExpiryInSeconds is not positive in lock store {name}");
                plain(400, "ERR_MALFORMED_REQUEST", &text)
            }
            Block::Lock | Block::Unlock => {
                plain(500, "ERR_LOCK_STORE_NOT_CONFIGURED", "lock store is not configured")
            }
            Block::Publish => {
                let text = format!("pubsub {name} is not found");
                detailed(404, "ERR_PUBSUB_NOT_FOUND", &text, Some(&[]), "DAPR_PUBSUB_NOT_FOUND")
            }
            Block::Secrets => {
                plain(500, "ERR_SECRET_STORES_NOT_CONFIGURED", "secret store is not configured")
            }
            Block::State => state(name, Some(&[("appID", asked.app_id)])),
            Block::StateQuery => state(name, None),
            Block::SubtleCrypto => {
                plain(501, "ERR_API_UNIMPLEMENTED", "this API is currently not implemented")
            }
        }
    }
}

const LOCK: &[Field] = &[
    field("storeName", Kind::Text),
    field("resourceId", Kind::Text),
    field("lockOwner", Kind::Text),
    field("expiryInSeconds", Kind::Int),
];
const UNLOCK: &[Field] =
    &[field("storeName", Kind::Text), field("resourceId", Kind::Text), field("lockOwner", Kind::Text)];
const JOB: &[Field] = &[
    field("name", Kind::Text),
    field("schedule", Kind::Text),
    field("repeats", Kind::Count),
    field("dueTime", Kind::Text),
    field("ttl", Kind::Text),
    field("overwrite", Kind::Bool),
];
const CONVERSATION: &[Field] = &[
    field("name", Kind::Text),
    field("inputs", Kind::Array),
    field("parameters", Kind::Object),
    field("metadata", Kind::Object),
    field("temperature", Kind::Double),
];
const BINDING: &[Field] = &[field("operation", Kind::Text), field("metadata", Kind::Object)];
const REMINDER: &[Field] =
    &[field("dueTime", Kind::Text), field("period", Kind::Text), field("ttl", Kind::Text)];

fn bindings(asked: &Question<'_>, said: &Said<'_>) -> Answer {
    let name = asked.name;
    let why = if asked.body.is_none() || said.has_text("operation") {
        format!("couldn't find output binding {name}")
    } else {
        "operation field is missing from request".to_owned()
    };
    plain(500, "ERR_INVOKE_OUTPUT_BINDING", &format!("error invoking output binding {name}: {why}"))
}

fn jobs(asked: &Question<'_>, said: &Said<'_>) -> Answer {
    let own = [("appID", asked.app_id), ("namespace", asked.namespace)];
    let creates = asked.verb == "POST" && asked.body.is_some();
    if creates && said.has_text("name") {
        let (code, own) = ("DAPR_SCHEDULER_JOB_NAME", [("appID", asked.app_id)]);
        return detailed(400, code, "Set the job name in the url only", Some(&own), code);
    }
    if creates && !said.has("schedule") && !said.has("dueTime") {
        let code = "DAPR_SCHEDULER_SCHEDULE_EMPTY";
        return detailed(400, code, "Schedule is empty", Some(&own), code);
    }
    let (code, verb) = match asked.verb {
        "POST" => ("DAPR_SCHEDULER_SCHEDULE_JOB", "schedule"),
        "DELETE" => ("DAPR_SCHEDULER_DELETE_JOB", "delete"),
        _ => ("DAPR_SCHEDULER_GET_JOB", "get"),
    };
    let text = format!("failed to {verb} job due to: scheduler clients are disabled");
    detailed(500, code, &text, Some(&own), code)
}

fn state(name: &str, metadata: Option<&[(&str, &str)]>) -> Answer {
    let text = format!("state store {name} is not configured");
    detailed(500, "ERR_STATE_STORE_NOT_CONFIGURED", &text, metadata, "DAPR_STATE_NOT_CONFIGURED")
}

fn plain(status: u16, code: &str, message: &str) -> Answer {
    let mut body = opened(code, message);
    body.push(b'}');
    Answer { status, body }
}

/// With a `google.rpc.ErrorInfo`; its metadata may be null.
fn detailed(
    status: u16,
    code: &str,
    message: &str,
    metadata: Option<&[(&str, &str)]>,
    reason: &str,
) -> Answer {
    let mut body = opened(code, message);
    body.extend_from_slice(b",\"details\":[{\"@type\":\"type.googleapis.com/google.rpc.ErrorInfo\",");
    body.extend_from_slice(b"\"domain\":\"dapr.io\",\"metadata\":");
    match metadata {
        None => body.extend_from_slice(b"null"),
        Some(pairs) => object(&mut body, pairs),
    }
    body.extend_from_slice(format!(",\"reason\":\"{reason}\"}}]}}").as_bytes());
    Answer { status, body }
}

fn opened(code: &str, message: &str) -> Vec<u8> {
    let mut body = format!("{{\"errorCode\":\"{code}\",\"message\":").into_bytes();
    quote::json(&mut body, message);
    body
}

fn object(out: &mut Vec<u8>, pairs: &[(&str, &str)]) {
    out.push(b'{');
    for (n, (key, value)) in pairs.iter().enumerate() {
        if n > 0 {
            out.push(b',');
        }
        quote::json(out, key);
        out.push(b':');
        quote::json(out, value);
    }
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(block: Block, verb: &str, body: &str) -> (u16, String) {
        let body = Some(body.as_bytes());
        let asked = Question { verb, name: "s", body, app_id: "a", namespace: "default" };
        let Answer { status, body } = block.answer(&asked);
        (status, String::from_utf8(body).unwrap())
    }

    #[test]
    fn a_state_store_that_is_missing_is_named() {
        let (status, body) = answer(Block::State, "GET", "");
        assert_eq!(status, 500);
        assert_eq!(
            body,
            r#"{"errorCode":"ERR_STATE_STORE_NOT_CONFIGURED","message":"state store s is not configured","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","domain":"dapr.io","metadata":{"appID":"a"},"reason":"DAPR_STATE_NOT_CONFIGURED"}]}"#
        );
        assert!(answer(Block::StateQuery, "POST", "{}").1.contains("\"metadata\":null"));
    }

    #[test]
    fn what_the_request_lacks_is_said_before_what_the_sidecar_lacks() {
        assert!(answer(Block::Bindings, "POST", "{}").1.contains("operation field is missing"));
        assert!(answer(Block::Bindings, "POST", r#"{"operation":"get"}"#).1.contains("couldn't find output"));
        assert_eq!(answer(Block::Lock, "POST", "{}").0, 400);
        assert_eq!(answer(Block::Lock, "POST", r#"{"expiryInSeconds":1}"#).0, 500);
        assert_eq!(answer(Block::Jobs, "POST", "{}").0, 400);
        assert!(answer(Block::Jobs, "POST", r#"{"schedule":"@daily"}"#).1.contains("failed to schedule job"));
        assert!(answer(Block::Jobs, "POST", r#"{"name":"x"}"#).1.contains("DAPR_SCHEDULER_JOB_NAME"));
    }

    #[test]
    fn what_is_malformed_is_said_first_where_daprd_reads_the_body() {
        for (block, verb) in [
            (Block::ActorReminder, "POST"),
            (Block::ActorReminder, "DELETE"),
            (Block::ActorState, "PUT"),
            (Block::Bindings, "POST"),
            (Block::Conversation, "POST"),
            (Block::Jobs, "POST"),
            (Block::Lock, "POST"),
            (Block::SubtleCrypto, "POST"),
            (Block::Unlock, "POST"),
            (Block::WorkflowChange, "POST"),
        ] {
            let (status, body) = answer(block, verb, "{");
            assert_eq!(status, 400, "{block:?}");
            let begins =
                r#"{"errorCode":"ERR_MALFORMED_REQUEST","message":"failed deserializing HTTP body: "#;
            assert!(body.starts_with(begins), "{block:?}: {body}");
        }
        for (block, verb) in [
            (Block::Actors, "POST"),
            (Block::ActorReminder, "GET"),
            (Block::Crypto, "PUT"),
            (Block::Jobs, "DELETE"),
            (Block::Publish, "POST"),
            (Block::State, "POST"),
        ] {
            assert!(!answer(block, verb, "{").1.contains("ERR_MALFORMED_REQUEST"), "{block:?}");
        }
    }

    #[test]
    fn a_body_that_nobody_looked_at_is_not_judged() {
        for block in [Block::Bindings, Block::Jobs, Block::Lock] {
            let asked = Question { verb: "POST", name: "s", body: None, app_id: "a", namespace: "b" };
            assert_eq!(block.answer(&asked).status, 500, "{block:?}");
        }
    }
}
