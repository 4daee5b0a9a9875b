//! Servers outside the mesh, both ways.

use super::decode::Reasons;
use crate::control as wire;
use crate::http1::encode::is_value;
use crate::invoke::headers::external::is_settable;
use crate::invoke::url;
use crate::snapshot::{ClientTls, HttpEndpoint, HttpEndpoints};
use std::sync::Arc;

/// Most servers that are called by name.
pub const MAX_HTTP_ENDPOINTS: usize = 4096;

pub(super) fn encode(endpoints: &HttpEndpoints) -> wire::HttpEndpoints {
    let one = |(name, it): (&String, &Arc<HttpEndpoint>)| wire::HttpEndpoint {
        name: name.clone(),
        base_url: it.base.secret_text(),
        headers: it.headers.iter().map(|(name, value)| header(name, value)).collect(),
        roots: it.tls.roots.clone(),
        chain: it.tls.chain.clone(),
        private_key: it.tls.key.clone(),
    };
    wire::HttpEndpoints { endpoints: endpoints.iter().map(one).collect() }
}

fn header(name: &str, value: &str) -> wire::Header {
    wire::Header { name: name.into(), value: value.into() }
}

pub(super) fn decode(message: &wire::HttpEndpoints, reasons: &mut Reasons) -> HttpEndpoints {
    let mut all = HttpEndpoints::new();
    let count = message.endpoints.len();
    let most = MAX_HTTP_ENDPOINTS;
    reasons.expect(count <= most, format_args!("http_endpoints: {count} are more than {most}"));
    for wanted in &message.endpoints {
        let place = format!("http_endpoints: {:?}", wanted.name);
        reasons.expect(!wanted.name.is_empty(), "http_endpoints: a name is empty");
        let Some(endpoint) = endpoint(wanted, &place, reasons) else { continue };
        let twice = all.insert(wanted.name.clone(), Arc::new(endpoint)).is_some();
        reasons.expect(!twice, format_args!("{place} stands twice"));
    }
    all
}

fn endpoint(message: &wire::HttpEndpoint, place: &str, reasons: &mut Reasons) -> Option<HttpEndpoint> {
    for header in &message.headers {
        let good = is_settable(&header.name) && is_value(header.value.as_bytes());
        reasons.expect(good, format_args!("{place}: header {:?} cannot be set", header.name));
    }
    let paired = message.chain.is_empty() == message.private_key.is_empty();
    reasons.expect(paired, format_args!("{place}: of certificate and private key only one is there"));
    let base = reasons.ok(&format!("{place}: base_url"), url::parse(&message.base_url))?;
    let headers = message.headers.iter().map(|header| (header.name.clone(), header.value.clone()));
    Some(HttpEndpoint {
        base,
        headers: headers.collect(),
        tls: ClientTls {
            roots: message.roots.clone(),
            chain: message.chain.clone(),
            key: message.private_key.clone(),
        },
    })
}
