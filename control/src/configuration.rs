//! Configuration files (kinds Configuration, Resiliency, HTTPEndpoint, Component), read with locations.
//!
//! `run` is strict: what is unreadable or unknown stops the start. daprd mode starts with what daprd starts with, and
//! warns. What would weaken access control stops the start in both.

use crate::settings::ApiLogging;
use std::fmt;
use std::path::{Path, PathBuf};

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
        }
    }
}

/// What was read, and everything worth saying about it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Findings {
    /// Merged, later files over earlier ones.
    pub configuration: Configuration,
    /// In the order of the files.
    pub problems: Vec<Problem>,
}

impl Findings {
    /// The problems that stop a start in this mode.
    pub fn that_stop(&self, strictness: Strictness) -> Vec<&Problem> {
        let least = match strictness {
            Strictness::Strict => Gravity::Mistake,
            Strictness::Lenient => Gravity::Fatal,
        };
        self.problems.iter().filter(|problem| problem.gravity >= least).collect()
    }
}

/// Reads `--config` files and `--resources-path` directories. `variables` answers `${NAME}`.
pub fn read(
    files: &[PathBuf],
    directories: &[PathBuf],
    _strictness: Strictness,
    _variables: &dyn Fn(&str) -> Option<String>,
) -> Findings {
    let unread = |path: &PathBuf| Problem {
        file: path.clone(),
        line: 0,
        column: 0,
        message: "configuration files are not read yet".into(),
        gravity: Gravity::Fatal,
    };
    Findings { problems: files.iter().chain(directories).map(unread).collect(), ..Findings::default() }
}

/// Strict judgement of files and directories, for `outrigger check`.
pub fn check(paths: &[PathBuf]) -> Vec<Problem> {
    read(paths, &[], Strictness::Strict, &|name| std::env::var(name).ok()).problems
}

/// Whether a file is read as a resource.
pub fn is_yaml(path: &Path) -> bool {
    path.extension().is_some_and(|e| e == "yaml" || e == "yml")
}
