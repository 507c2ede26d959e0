//! `rhumb run`.

use super::args::RunArgs;
use super::{Done, Failure};

/// Runs an edge until it is told to stop.
pub(super) fn run(_args: &RunArgs) -> Done {
    Err(Failure::Failed("run is not wired yet".into()))
}
