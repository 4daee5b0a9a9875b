//! daprd's flags that have no effect here.

use crate::cli::values::{GoDuration, boolean};
use clap::Args;

/// Flags of building blocks that Outrigger does not have: accepted, without effect, said once.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "daprd's flags without effect here")]
pub struct IgnoredFlags {
    /// Actors are not part of Outrigger
    #[arg(
        long,
        hide_short_help = true,
        value_name = "LIST",
        default_value = "",
        hide_default_value = true,
        allow_hyphen_values = true
    )]
    pub placement_host_address: String,
    /// Jobs are not part of Outrigger
    #[arg(
        long,
        hide_short_help = true,
        value_name = "LIST",
        value_delimiter = ',',
        allow_hyphen_values = true
    )]
    pub scheduler_host_address: Vec<String>,
    /// Jobs are not part of Outrigger
    #[arg(long, hide_short_help = true, value_name = "N", default_value_t = 3)]
    pub scheduler_job_streams: u64,
    /// Actors are not part of Outrigger
    #[arg(
        long,
        hide_short_help = true,
        value_name = "DURATION",
        default_value = "30s",
        allow_hyphen_values = true
    )]
    pub actors_disseminate_timeout: GoDuration,
    /// Configuration is read at the start
    #[arg(
        long,
        hide_short_help = true,
        value_name = "DURATION",
        default_value = "0s",
        allow_hyphen_values = true
    )]
    pub hot_reload_reconcile_interval: GoDuration,
    /// Bindings are not part of Outrigger
    #[arg(
        long,
        hide_short_help = true,
        value_name = "DURATION",
        default_value = "3s",
        allow_hyphen_values = true
    )]
    pub app_binding_options_timeout: GoDuration,
    /// Secret stores are not part of Outrigger
    #[arg(long, hide_short_help = true, num_args = 0..=1, require_equals = true, value_name = "BOOL",
          default_value = "false", default_missing_value = "true", hide_default_value = true,
          value_parser = boolean, action = clap::ArgAction::Set)]
    pub disable_builtin_k8s_secret_store: bool,
    /// Actors are not part of Outrigger
    #[arg(
        long,
        hide_short_help = true,
        value_name = "NAME",
        default_value = "",
        hide_default_value = true,
        allow_hyphen_values = true
    )]
    pub actors_service: String,
    /// Actors are not part of Outrigger
    #[arg(
        long,
        hide_short_help = true,
        value_name = "NAME",
        default_value = "",
        hide_default_value = true,
        allow_hyphen_values = true
    )]
    pub reminders_service: String,
}
