//! What may be typed to run a game day.

use std::path::PathBuf;

use clap::Args;

use super::operators::percent;
use super::reason;

/// The help behind the options.
pub const MORE: &str = "\
Without --region: a game day in a lab of its own, with three toy regions, an edge
and clients, all on this machine. Each drill breaks one thing or moves ownership
while clients write and read, and is judged by what clients and regions wrote
down. Exits with 1 where an invariant was violated or a step did not come about.

With --region: the same for a running edge, at --admin. Nothing is done, and only
what would be is shown, unless --go and --reason are given. Then it does what an
operator may do, watches, and takes everything back, after Ctrl-C too.

Examples:
  rhumb drill
  rhumb drill region-dead planned-transfer --report game-day.json
  rhumb drill --region eu-west-1
  rhumb drill --region eu-west-1 planned-transfer --share 1 --go --reason 'game day'";

/// `rhumb drill`.
#[derive(Debug, Args)]
pub struct DrillArgs {
    /// Which drills [default: all that can be done]
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// List the drills, and do none
    #[arg(long)]
    pub list: bool,
    /// Write the report to this file too, as JSON
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// The longest that one drill may take, 5 to 600
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = clap::value_parser!(u64).range(5..=600))]
    pub seconds: u64,
    /// Against a running edge: the region that is drilled; may be given again
    #[arg(long, value_name = "REGION")]
    pub region: Vec<String>,
    /// The tenant that is frozen, or moved instead of a share
    #[arg(long, value_name = "TENANT", requires = "region")]
    pub tenant: Option<String>,
    /// How much of what the region owns moves, in percent
    #[arg(long, value_name = "PERCENT", value_parser = percent, default_value = "1")]
    pub share: f64,
    /// The weight that a drain goes down to, in percent
    #[arg(long, value_name = "WEIGHT", value_parser = percent, default_value = "0")]
    pub to: f64,
    /// Do it; without this, what would be done is shown
    #[arg(long, requires = "region", requires = "reason", conflicts_with = "dry_run")]
    pub go: bool,
    /// Show what would be done, and do nothing; so it is without --go
    #[arg(long, requires = "region")]
    pub dry_run: bool,
    /// Why; it is kept with every change
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    pub reason: Option<String>,
}
