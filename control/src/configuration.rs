//! Configuration files (kinds Configuration, Resiliency, HTTPEndpoint, Component), read with locations.
//!
//! `run` is strict: what is unreadable or unknown stops the start. daprd mode starts with what daprd starts with, and
//! warns. What would weaken access control stops the start in both.

mod access;
mod endpoints;
mod expand;
mod middleware;
mod reader;
mod resources;
mod secrets;
mod spec;
mod tree;

use crate::settings::{ApiLists, ApiLogging, Pipelines};
use access::AccessControl;
use proto::snapshot::HttpEndpoints;
use reader::{Fields, Reader};
use resources::{Taken, Whose};
use secrets::Secrets;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use tree::{Node, Value};

/// Largest configuration or resource file, in bytes.
const LARGEST_FILE: u64 = 4 << 20;

/// How much is forgiven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strictness {
    /// `run` and `check`.
    Strict,
    /// daprd mode.
    Lenient,
}

/// How much a finding weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Gravity {
    /// Worth saying.
    Note,
    /// Stops the start in `run`; a warning in daprd mode.
    Mistake,
    /// Stops the start in both modes.
    Fatal,
}

/// A finding, with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file as it was named.
    pub file: PathBuf,
    /// Line, from 1; 0 where the whole file is meant.
    pub line: u64,
    /// Column in characters, from 1; 0 where the whole file is meant.
    pub column: u64,
    /// What is wrong and what was expected.
    pub message: String,
    /// How much it weighs.
    pub gravity: Gravity,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file.display())?;
        if self.line > 0 {
            write!(f, "{}:{}:", self.line, self.column)?;
        }
        write!(f, " {}", self.message)
    }
}

/// What the Configuration resources said, merged.
#[derive(Clone, Debug, PartialEq)]
pub struct Configuration {
    /// `spec.tracing.samplingRate`; 0.0001 unless configured.
    pub sampling_rate: f64,
    /// `spec.nameResolution.component`, lower case.
    pub name_resolution: Option<String>,
    /// `spec.mtls.enabled`.
    pub mtls_enabled: Option<bool>,
    /// `spec.metrics.enabled` or `spec.metric.enabled`.
    pub metrics_enabled: Option<bool>,
    /// `spec.accessControl.trustDomain`.
    pub trust_domain: Option<String>,
    /// `spec.logging.apiLogging`.
    pub api_logging: ApiLogging,
    /// `spec.api`, as far as it is about HTTP.
    pub api: ApiLists,
    /// Whether requests get trace contexts of the sidecar's own: a rate is given, or spans go somewhere.
    pub begins_traces: bool,
    /// `spec.httpPipeline` and `spec.appHttpPipeline`, with what their components say.
    pub pipelines: Pipelines,
    listed: middleware::Listed,
}

impl Default for Configuration {
    fn default() -> Configuration {
        Configuration {
            sampling_rate: 1e-4,
            name_resolution: None,
            mtls_enabled: None,
            metrics_enabled: None,
            trust_domain: None,
            api_logging: ApiLogging::default(),
            api: ApiLists::default(),
            begins_traces: false,
            pipelines: Pipelines::default(),
            listed: middleware::Listed::default(),
        }
    }
}

/// What was read, and everything worth saying about it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Findings {
    /// Merged, later files over earlier ones.
    pub configuration: Configuration,
    /// Servers outside the mesh, with their secrets: never stored.
    pub http_endpoints: HttpEndpoints,
    /// In the order of the files.
    pub problems: Vec<Problem>,
}

impl Findings {
    /// Mistakes that were not there when the sidecar started: files have changed since.
    pub(crate) fn news(&self, said: &[String]) -> Vec<String> {
        let mistakes = self.problems.iter().filter(|problem| problem.gravity >= Gravity::Mistake);
        mistakes.map(ToString::to_string).filter(|text| !said.contains(text)).collect()
    }

    /// The problems that stop a start in this mode.
    pub fn that_stop(&self, strictness: Strictness) -> Vec<&Problem> {
        let least = match strictness {
            Strictness::Strict => Gravity::Mistake,
            Strictness::Lenient => Gravity::Fatal,
        };
        self.problems.iter().filter(|problem| problem.gravity >= least).collect()
    }
}

/// Reads `--config` files and `--resources-path` directories. `variables` answers `${NAME}`; its `APP_ID` is the app that
/// the resources' scopes are compared with.
pub fn read(
    files: &[PathBuf],
    directories: &[PathBuf],
    strictness: Strictness,
    variables: &dyn Fn(&str) -> Option<String>,
) -> Findings {
    let mut findings = Findings::default();
    let mut access = AccessControl::default();
    for file in files {
        let undefined = match strictness {
            Strictness::Strict => Gravity::Mistake,
            Strictness::Lenient => Gravity::Note,
        };
        let how = Judging { variables, undefined };
        configuration_file(file, &how, strictness, &mut findings, &mut access);
    }
    let (app, namespace) = (variables("APP_ID"), variables("NAMESPACE").unwrap_or_default());
    let files = resource_files(directories, &mut findings);
    resource_files_of(&files, app.as_deref(), &namespace, variables, Gravity::Fatal, &mut findings);
    findings.problems.extend(access.unmet());
    findings
}

/// Strict judgement of files and directories, for `outrigger check`: a Configuration is judged as one, everything else as a
/// resource.
pub fn check(paths: &[PathBuf]) -> Findings {
    let mut findings = Findings::default();
    let mut access = AccessControl::default();
    let variables = |name: &str| std::env::var(name).ok();
    // Ports and the app id are only known at a start, and so may other variables be.
    let how = Judging { variables: &variables, undefined: Gravity::Note };
    let mut resources = Vec::new();
    for path in paths {
        if path.is_dir() {
            resources.extend(resource_files(std::slice::from_ref(path), &mut findings));
        } else if is_configuration(path) {
            configuration_file(path, &how, Strictness::Strict, &mut findings, &mut access);
        } else {
            resources.push(path.clone());
        }
    }
    // a Configuration may be judged alone
    let missing = if resources.is_empty() { Gravity::Note } else { Gravity::Fatal };
    resource_files_of(&resources, None, "", &variables, missing, &mut findings);
    findings.problems.extend(access.unmet());
    findings
}

/// How a Configuration file is judged.
struct Judging<'a> {
    variables: &'a dyn Fn(&str) -> Option<String>,
    undefined: Gravity,
}

fn configuration_file(
    path: &Path,
    how: &Judging<'_>,
    strictness: Strictness,
    findings: &mut Findings,
    access: &mut AccessControl,
) {
    let Some(original) = text_of(path, Gravity::Fatal, findings) else { return };
    let expanded = expand::expand(&original, how.variables);
    let mut reader = Reader::new(path, &original, &expanded, Gravity::Fatal);
    for (name, offset) in &expanded.undefined {
        reader.note_in_file(*offset, how.undefined, format!("environment variable {name} is not set"));
    }
    match tree::parse(&expanded.text) {
        Err(error) => reader.note(error.offset.unwrap_or(0), Gravity::Fatal, error.message),
        Ok(documents) => {
            for (index, document) in documents.iter().enumerate() {
                if index == 0 || strictness == Strictness::Strict {
                    spec::read(document, &mut findings.configuration, access, &mut reader);
                } else {
                    // daprd reads the first document only.
                    ignored_document(document, &mut reader);
                }
            }
        }
    }
    findings.problems.append(&mut reader.problems);
}

/// A document that daprd does not read; one that would restrict access must not be dropped silently.
fn ignored_document(document: &Node, reader: &mut Reader<'_>) {
    let restricts = descend(document, &["spec", "accessControl"]).is_some()
        || descend(document, &["spec", "api"]).is_some();
    let (gravity, end) = if restricts {
        (Gravity::Fatal, "it restricts access, so it must be the first one, or in a file of its own")
    } else {
        (Gravity::Mistake, "it has no effect")
    };
    reader.note(
        document.offset,
        gravity,
        format!("only the first document of a --config file is read here; {end}"),
    );
}

fn descend<'n>(node: &'n Node, path: &[&str]) -> Option<&'n Node> {
    path.iter().try_fold(node, |node, name| match &node.value {
        Value::Map(entries) => entries.iter().find(|(key, _)| key.name == *name).map(|(_, node)| node),
        _ => None,
    })
}

fn is_configuration(path: &Path) -> bool {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let first = tree::parse(&text).ok().and_then(|documents| documents.into_iter().next());
    match first {
        Some(document) => descend(&document, &["kind"])
            .is_some_and(|kind| kind.value == Value::Text("Configuration".into())),
        // An unreadable one is judged as what it says it is.
        None => text.contains("kind: Configuration"),
    }
}

fn resource_files(directories: &[PathBuf], findings: &mut Findings) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for directory in directories {
        match std::fs::read_dir(directory) {
            Ok(entries) => {
                let paths = entries.filter_map(Result::ok).map(|entry| entry.path());
                let mut files: Vec<PathBuf> = paths.filter(|path| is_yaml(path)).collect();
                files.sort();
                all.append(&mut files);
            }
            Err(error) => findings.problems.push(whole_file(directory, Gravity::Fatal, &reason(&error))),
        }
    }
    all
}

/// Reads resources: first what others refer to, then all. `missing`: the weight of a component that a pipeline names
/// and that is not there.
fn resource_files_of(
    files: &[PathBuf],
    app: Option<&str>,
    namespace: &str,
    variables: &dyn Fn(&str) -> Option<String>,
    missing: Gravity,
    findings: &mut Findings,
) {
    let mut secrets = Secrets { variables, stores: BTreeMap::new() };
    let mut found = Vec::new();
    let whose = Whose { app, namespace, secrets: &secrets };
    for file in files {
        // what is wrong with a file is said in the second look, what is wrong with a store here
        let mut looked = Findings::default();
        resource_file(file, &mut looked, |document, reader| {
            found.extend(resources::read_store(document, &whose, reader));
        });
        let stores = looked.problems.into_iter().filter(|problem| problem.message.starts_with("secretsFile"));
        findings.problems.extend(stores);
    }
    secrets.stores = found.into_iter().collect();
    let whose = Whose { app, namespace, secrets: &secrets };
    let mut taken = Taken::default();
    for file in files {
        resource_file(file, findings, |document, reader| {
            resources::read(document, &whose, &mut taken, reader);
        });
    }
    findings.http_endpoints = taken.endpoints;
    let listed = std::mem::take(&mut findings.configuration.listed);
    findings.configuration.pipelines = listed.resolve(&taken.middleware, missing, &mut findings.problems);
}

fn resource_file(path: &Path, findings: &mut Findings, mut read: impl FnMut(&Node, &mut Reader<'_>)) {
    let Some(original) = text_of(path, Gravity::Mistake, findings) else { return };
    let verbatim = expand::Expanded::verbatim(&original);
    let mut reader = Reader::new(path, &original, &verbatim, Gravity::Mistake);
    match tree::parse(&original) {
        Err(error) => reader.note(error.offset.unwrap_or(0), Gravity::Mistake, error.message),
        Ok(documents) => documents.iter().for_each(|document| read(document, &mut reader)),
    }
    findings.problems.append(&mut reader.problems);
}

/// `spec.metadata` of a component: names in lower case, as they match in any.
fn metadata(node: Option<&Node>, reader: &mut Reader<'_>) -> BTreeMap<String, String> {
    let Some(node) = node else { return BTreeMap::new() };
    let items = reader.items(node, "spec.metadata");
    let pairs = items.iter().filter_map(|item| {
        let mut fields = reader.fields(item, "spec.metadata[]").map(Fields::in_any_case)?;
        let name = fields.take("name").and_then(|node| reader.text(node, "spec.metadata[].name"))?;
        let value = fields.take("value").and_then(|node| reader.text(node, "spec.metadata[].value"));
        Some((name.to_lowercase(), value.unwrap_or_default()))
    });
    pairs.collect()
}

/// A file's text; what stands in the way is noted.
fn text_of(path: &Path, gravity: Gravity, findings: &mut Findings) -> Option<String> {
    let read = std::fs::metadata(path).and_then(|file| {
        if file.len() > LARGEST_FILE {
            return Err(std::io::Error::other(format!("larger than {LARGEST_FILE} bytes")));
        }
        std::fs::read(path)
    });
    match read.map_err(|error| reason(&error)).and_then(|bytes| {
        String::from_utf8(bytes).map_err(|error| format!("not UTF-8 text: {}", error.utf8_error()))
    }) {
        Ok(text) => Some(text),
        Err(message) => {
            findings.problems.push(whole_file(path, gravity, &message));
            None
        }
    }
}

fn reason(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "no such file or directory".into(),
        std::io::ErrorKind::PermissionDenied => "permission denied".into(),
        _ => error.to_string(),
    }
}

fn whole_file(path: &Path, gravity: Gravity, message: &str) -> Problem {
    Problem { file: path.to_owned(), line: 0, column: 0, message: message.to_owned(), gravity }
}

fn is_yaml(path: &Path) -> bool {
    path.is_file() && path.extension().is_some_and(|e| e == "yaml" || e == "yml")
}

#[cfg(test)]
mod tests;
