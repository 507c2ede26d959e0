//! What may be typed to change weights: plans, drains, weights, and the audit of them.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Subcommand};

use super::reason;
use crate::control::desk::Guard;
use crate::problem::units;

/// `REGION` or `REGION/CELL`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its name.
    pub region: String,
    /// `None`: the whole region.
    pub cell: Option<String>,
}

impl FromStr for Target {
    type Err = String;
    fn from_str(typed: &str) -> Result<Self, String> {
        let (region, cell) = match typed.split_once('/') {
            Some((region, cell)) => (region, Some(cell)),
            None => (typed, None),
        };
        if region.is_empty() || cell.is_some_and(|cell| cell.is_empty() || cell.contains('/')) {
            return Err("write REGION or REGION/CELL, as in eu-west-1 or eu-west-1/a".into());
        }
        Ok(Self { region: region.into(), cell: cell.map(Into::into) })
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(&self.region)?;
        self.cell.as_ref().map_or(Ok(()), |cell| write!(out, "/{cell}"))
    }
}

/// `rhumb plan`.
#[derive(Debug, Subcommand)]
pub enum PlanCommand {
    /// Say what a weight would do: who would move where, who could not, and what stands in the way
    Drain {
        /// The region, or one cell of it
        #[arg(value_name = "REGION[/CELL]")]
        target: Target,
        /// The weight in percent
        #[arg(long, value_name = "WEIGHT", default_value = "0", value_parser = percent)]
        to: f64,
    },
}

/// What every change takes.
#[derive(Debug, Args)]
pub struct Why {
    /// Why; it is kept with the change
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    pub reason: String,
    /// Show what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// What a change of weight takes besides.
#[derive(Debug, Args)]
pub struct Terms {
    /// Undo it by itself after so long, such as 2h, counted from now
    #[arg(long, value_name = "TIME", value_parser = span)]
    pub expires_in: Option<String>,
    /// Break this safety rule; may be given again
    #[arg(long = "override", value_name = "RULE")]
    pub overrides: Vec<String>,
    /// Do just what this plan says, or nothing
    #[arg(long, value_name = "ID")]
    pub plan: Option<String>,
}

/// `rhumb drain`.
#[derive(Debug, Args)]
pub struct DrainArgs {
    /// The region, or one cell of it
    #[arg(value_name = "REGION[/CELL]")]
    pub target: Target,
    /// The weight at its end, in percent
    #[arg(long, value_name = "WEIGHT", value_parser = percent)]
    pub to: f64,
    /// How long it takes, such as 10m [default: at once]
    #[arg(long, value_name = "TIME", value_parser = span)]
    pub over: Option<String>,
    /// The least by which the weight changes, in percent [default: 1]
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    pub step: Option<f64>,
    /// Pause when this is so at a region that takes over; may be given again
    #[arg(long, value_name = "GUARD", value_parser = guard)]
    pub pause_if: Vec<String>,
    /// Why, and on what terms.
    #[command(flatten)]
    pub why: Why,
    /// See there.
    #[command(flatten)]
    pub terms: Terms,
    /// Stay until it is done, and show how far it is
    #[arg(long, conflicts_with = "dry_run")]
    pub wait: bool,
}

/// `rhumb undrain`.
#[derive(Debug, Args)]
pub struct UndrainArgs {
    /// The region, or one cell of it
    #[arg(value_name = "REGION[/CELL]")]
    pub target: Target,
    /// Why.
    #[command(flatten)]
    pub why: Why,
    /// Break this safety rule; may be given again
    #[arg(long = "override", value_name = "RULE")]
    pub overrides: Vec<String>,
    /// Stay until it is undone, and show how far it is
    #[arg(long, conflicts_with = "dry_run")]
    pub wait: bool,
}

/// `rhumb drains`.
#[derive(Debug, Subcommand)]
pub enum DrainsCommand {
    /// Let a drain stand still
    Pause(OneDrain),
    /// Let a paused drain go on
    Resume(OneDrain),
    /// End a drain where it is
    Stop(OneDrain),
}

/// One of them.
#[derive(Debug, Args)]
pub struct OneDrain {
    /// Its number, as `rhumb drains` shows it
    #[arg(value_name = "ID")]
    pub id: u64,
    /// Why.
    #[command(flatten)]
    pub why: Why,
    /// Break this safety rule; may be given again
    #[arg(long = "override", value_name = "RULE")]
    pub overrides: Vec<String>,
}

/// `rhumb weight`.
#[derive(Debug, Args)]
pub struct WeightArgs {
    /// The region, or one cell of it
    #[arg(value_name = "REGION[/CELL]")]
    pub target: Target,
    /// The weight in percent
    #[arg(value_name = "WEIGHT", value_parser = percent, required_unless_present = "clear")]
    pub weight: Option<f64>,
    /// Let the configured weight hold again
    #[arg(long, conflicts_with_all = ["weight", "expires_in", "plan"])]
    pub clear: bool,
    /// Why.
    #[command(flatten)]
    pub why: Why,
    /// On what terms.
    #[command(flatten)]
    pub terms: Terms,
}

/// `rhumb audit`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct AuditArgs {
    /// See there.
    #[command(subcommand)]
    pub command: Option<AuditCommand>,
    /// Those behind this number, oldest first [default: the newest first]
    #[arg(long, value_name = "N", conflicts_with = "before")]
    pub since: Option<u64>,
    /// Those before this number, newest first
    #[arg(long, value_name = "N")]
    pub before: Option<u64>,
    /// Those by this actor
    #[arg(long, value_name = "NAME")]
    pub actor: Option<String>,
    /// Those that tell of this, such as drain_began
    #[arg(long, value_name = "CODE")]
    pub action: Option<String>,
    /// Those about this region
    #[arg(long, value_name = "REGION")]
    pub region: Option<String>,
    /// At most so many, 1 to 1000 [default: 100]
    #[arg(long, value_name = "N")]
    pub limit: Option<u64>,
}

/// `rhumb audit verify`.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Say whether an entry is missing or was edited; exits with 1 if so
    Verify {
        /// Read this state.dir, without an edge
        #[arg(long, value_name = "DIR")]
        state: Option<PathBuf>,
    },
}

pub(super) fn percent(typed: &str) -> Result<f64, String> {
    let percent = typed.parse::<f64>().ok().filter(|percent| (0.0..=100.0).contains(percent));
    let exact = |percent: &f64| ((percent * 100.0).round() / 100.0 - percent).abs() < 1e-9;
    percent.filter(exact).ok_or_else(|| "write 0 to 100, with at most two decimals".into())
}

pub(super) fn span(typed: &str) -> Result<String, String> {
    units::duration(typed).map(|_| typed.to_owned())
}

fn guard(typed: &str) -> Result<String, String> {
    Guard::from_str(typed).map(|_| typed.to_owned()).map_err(|wrong| wrong.to_string())
}
