//! Kind HTTPEndpoint: servers outside the mesh (spec/resolution 7.1.1).

use super::Gravity;
use super::reader::{Fields, Reader};
use super::secrets::Secrets;
use super::tree::Node;
use proto::http1::encode::is_value;
use proto::invoke::headers::external::is_settable;
use proto::invoke::url::{self, Url};
use proto::snapshot::{ClientTls, HttpEndpoint};
use x509_parser::pem::Pem;

/// The endpoint of `spec`; `None` where it cannot be used safely, which is noted.
pub(super) fn read(
    spec: &Node,
    auth: Option<&Node>,
    secrets: &Secrets<'_>,
    reader: &mut Reader<'_>,
) -> Option<HttpEndpoint> {
    let auth = auth.and_then(|node| reader.fields(node, "auth")).map(Fields::in_any_case);
    let store = auth.and_then(|mut auth| auth.take("secretStore"));
    let store = store.and_then(|node| reader.text(node, "auth.secretStore")).unwrap_or_default();
    let referred = Referred { secrets, store: &store };
    let mut fields = reader.fields(spec, "spec")?.in_any_case();
    let base = base_url(spec, &mut fields, reader);
    let headers = fields.take("headers");
    let headers = headers.map(|node| referred.headers(node, reader)).unwrap_or_default();
    let tls = fields.take("clientTLS");
    let tls = tls.map_or_else(|| Some(ClientTls::default()), |node| referred.client_tls(node, reader));
    fields.accept(&["version"]);
    fields.finish(reader);
    Some(HttpEndpoint { base: base?, headers, tls: tls? })
}

fn base_url(spec: &Node, fields: &mut Fields<'_>, reader: &mut Reader<'_>) -> Option<Url> {
    let Some(node) = fields.take("baseUrl") else {
        reader.mistake(spec, "spec needs baseUrl");
        return None;
    };
    let text = reader.text(node, "spec.baseUrl").unwrap_or_default();
    match url::parse(&text) {
        Ok(url) => Some(url),
        Err(bad) => {
            let shown = if text.contains('@') {
                "spec.baseUrl".to_owned()
            } else {
                format!("spec.baseUrl is {text:?}")
            };
            reader.mistake(node, format!("{shown}; expected a URL with http:// or https://: {bad}"));
            None
        }
    }
}

/// Where the values of a resource may stand.
struct Referred<'a> {
    secrets: &'a Secrets<'a>,
    store: &'a str,
}

impl Referred<'_> {
    fn headers(&self, node: &Node, reader: &mut Reader<'_>) -> Vec<(String, String)> {
        let items = reader.items(node, "spec.headers");
        items.iter().filter_map(|item| self.header(item, reader)).collect()
    }

    fn header(&self, item: &Node, reader: &mut Reader<'_>) -> Option<(String, String)> {
        let mut fields = reader.fields(item, "spec.headers[]")?.in_any_case();
        let name = fields.take("name").and_then(|node| reader.text(node, "spec.headers[].name"))?;
        if !is_settable(&name) {
            reader.mistake(item, format!("spec.headers: {name:?} is no header that a resource can set"));
            return None;
        }
        let context = format!("header {name:?}");
        let value = self.secrets.value(&mut fields, (item, &context), self.store, reader);
        fields.finish(reader);
        let value = value?;
        if !is_value(value.as_bytes()) {
            reader.mistake(item, format!("{context}: the value has line ends or control characters"));
            return None;
        }
        Some((name, value))
    }

    fn client_tls(&self, node: &Node, reader: &mut Reader<'_>) -> Option<ClientTls> {
        let mut fields = reader.fields(node, "spec.clientTLS")?.in_any_case();
        let roots = self.document(&mut fields, "rootCA", reader);
        let chain = self.document(&mut fields, "certificate", reader);
        let key = self.document(&mut fields, "privateKey", reader);
        if let Some(node) = fields.take("renegotiation") {
            renegotiation(node, reader);
        }
        fields.finish(reader);
        let (roots, chain, key) = (roots?, chain?, key?);
        if chain.is_empty() != key.is_empty() {
            reader
                .mistake(node, "spec.clientTLS: certificate and privateKey go together, and one is missing");
            return None;
        }
        Some(ClientTls { roots, chain, key: key.into_iter().next().unwrap_or_default() })
    }

    /// The PEM documents of a setting, as DER; empty where it is absent, `None` where it cannot be used.
    fn document(
        &self,
        fields: &mut Fields<'_>,
        name: &'static str,
        reader: &mut Reader<'_>,
    ) -> Option<Vec<Vec<u8>>> {
        let Some(node) = fields.take(name) else { return Some(Vec::new()) };
        let context = format!("spec.clientTLS.{name}");
        let mut inner = reader.fields(node, &context)?.in_any_case();
        let text = self.secrets.value(&mut inner, (node, &context), self.store, reader);
        inner.finish(reader);
        match pem(&text?, if name == "privateKey" { "PRIVATE KEY" } else { "CERTIFICATE" }) {
            Ok(documents) => Some(documents),
            Err(why) => {
                reader.mistake(node, format!("{context}: {why}"));
                None
            }
        }
    }
}

/// The documents of a PEM text whose labels end in `label`.
fn pem(text: &str, label: &str) -> Result<Vec<Vec<u8>>, String> {
    let mut documents = Vec::new();
    for document in Pem::iter_from_buffer(text.as_bytes()) {
        let document = document.map_err(|error| format!("not PEM: {error}"))?;
        if document.label.ends_with(label) {
            documents.push(document.contents);
        }
    }
    if documents.is_empty() {
        return Err(format!("no PEM document \"-----BEGIN {label}-----\" in it"));
    }
    if label == "CERTIFICATE" {
        for der in &documents {
            x509_parser::parse_x509_certificate(der).map_err(|e| format!("not a certificate: {e}"))?;
        }
    }
    Ok(documents)
}

/// TLS 1.3 has no renegotiation, and this sidecar never renegotiates in TLS 1.2.
fn renegotiation(node: &Node, reader: &mut Reader<'_>) {
    let text = reader.text(node, "spec.clientTLS.renegotiation").unwrap_or_default();
    match text.strip_prefix("Renegotiate").unwrap_or(&text) {
        "Never" => {}
        "OnceAsClient" | "FreelyAsClient" => {
            let message =
                format!("spec.clientTLS.renegotiation is {text:?}; this sidecar never renegotiates");
            reader.note(node.offset, Gravity::Note, message);
        }
        _ => {
            let expected = "RenegotiateNever, RenegotiateOnceAsClient or RenegotiateFreelyAsClient";
            reader.mistake(node, format!("spec.clientTLS.renegotiation is {text:?}; expected {expected}"));
        }
    }
}
