//! What may be typed to move ownership and to pause writes.

use clap::{Args, Subcommand, ValueEnum};

use super::operators::{Why, percent, span};
use super::reason;

/// `rhumb transfer`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("whose").required(true).args(["tenant", "from"]))]
pub struct TransferArgs {
    /// The tenant whose ownership moves
    #[arg(value_name = "TENANT")]
    pub tenant: Option<String>,
    /// Move what this region owns
    #[arg(long, value_name = "REGION")]
    pub from: Option<String>,
    /// How much of it, in percent [default: all]
    #[arg(long, value_name = "PERCENT", value_parser = percent, requires = "from")]
    pub share: Option<f64>,
    /// To this region, to each tenant's standby, or home
    #[arg(long, value_name = "REGION|standby|home", default_value = "standby")]
    pub to: String,
    /// As much again each time this has passed, such as 5m, until nobody is left
    #[arg(long, value_name = "TIME", value_parser = span, requires = "share")]
    pub every: Option<String>,
    /// Wait for nothing: the old owner is gone, and writes that it acknowledged may be lost
    #[arg(long)]
    pub unplanned: bool,
    /// How it is done.
    #[command(flatten)]
    pub how: How,
}

/// `rhumb failover`.
#[derive(Debug, Args)]
pub struct FailoverArgs {
    /// The region that is to own nothing any more
    #[arg(value_name = "REGION")]
    pub region: String,
    /// Wait for nothing: the region is gone, and writes that it acknowledged may be lost
    #[arg(long)]
    pub unplanned: bool,
    /// How it is done.
    #[command(flatten)]
    pub how: How,
}

/// `rhumb failback`.
#[derive(Debug, Args)]
pub struct FailbackArgs {
    /// The region whose tenants come home
    #[arg(value_name = "REGION")]
    pub region: String,
    /// How many of them at a time, in percent
    #[arg(long, value_name = "PERCENT", value_parser = percent, default_value = "10")]
    pub share: f64,
    /// The time between two waves
    #[arg(long, value_name = "TIME", value_parser = span, default_value = "1m")]
    pub every: String,
    /// Begin; without it, only what it would meet is shown
    #[arg(long)]
    pub approve: bool,
    /// How it is done.
    #[command(flatten)]
    pub how: How,
}

/// What every transfer takes.
#[derive(Debug, Args)]
pub struct How {
    /// Why.
    #[command(flatten)]
    pub why: Why,
    /// Break this safety rule; may be given again
    #[arg(long = "override", value_name = "RULE")]
    pub overrides: Vec<String>,
    /// Stay until it is over, and show how far it is
    #[arg(long, conflicts_with = "dry_run")]
    pub wait: bool,
}

/// `rhumb transfers`.
#[derive(Debug, Subcommand)]
pub enum TransfersCommand {
    /// End a transfer once nothing of it is half-way; who has moved stays moved
    Cancel(OneTransfer),
    /// Let writes of a batch go on whose old owner's gateway does not answer: it is gone for good
    Release(OneTransfer),
}

/// One of them.
#[derive(Debug, Args)]
pub struct OneTransfer {
    /// Its number, as `rhumb transfers` shows it
    #[arg(value_name = "ID")]
    pub id: u64,
    /// Why.
    #[command(flatten)]
    pub why: Why,
}

/// How writes are paused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// They wait a while, and are then refused
    Frozen,
    /// They are refused at once
    ReadOnly,
}

/// `rhumb tenant freeze` and `rhumb region freeze`.
#[derive(Debug, Args)]
pub struct FreezeArgs {
    /// Its name
    pub name: String,
    /// How
    #[arg(long, value_name = "MODE", default_value = "frozen")]
    pub mode: Mode,
    /// Undo it by itself after so long, such as 2h
    #[arg(long, value_name = "TIME", value_parser = span)]
    pub expires_in: Option<String>,
    /// Why.
    #[command(flatten)]
    pub why: Why,
}

/// `rhumb tenant unfreeze` and `rhumb region unfreeze`.
#[derive(Debug, Args)]
pub struct UnfreezeArgs {
    /// Its name
    pub name: String,
    /// Why.
    #[command(flatten)]
    pub why: Why,
}

/// `rhumb tenant`.
#[derive(Debug, Subcommand)]
pub enum TenantCommand {
    /// Show a tenant's home, owner, epoch and where its requests may go
    Get {
        /// The tenant
        name: String,
    },
    /// Pause a tenant's writes
    Freeze(FreezeArgs),
    /// Let a tenant be written again
    Unfreeze(UnfreezeArgs),
    /// Say who owns a tenant that two regions claim; raises its epoch
    Resolve {
        /// The tenant
        name: String,
        /// The region that owns it from now on
        #[arg(long, value_name = "REGION")]
        owner: String,
        /// Why; it is kept with the change
        #[arg(long, value_name = "TEXT", value_parser = reason)]
        reason: String,
        /// Show what would be done, and do nothing
        #[arg(long)]
        dry_run: bool,
    },
}

/// `rhumb region`.
#[derive(Debug, Subcommand)]
pub enum RegionCommand {
    /// Pause writes of all tenants that a region owns
    Freeze(FreezeArgs),
    /// Let them be written again
    Unfreeze(UnfreezeArgs),
}
