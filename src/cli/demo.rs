//! `rhumb demo`.

use super::args::DemoArgs;
use super::{Done, Failure, Out};

/// Runs the demo until it is told to stop.
pub(super) fn demo(_args: DemoArgs, _out: &mut Out<'_>) -> Done {
    Err(Failure::Failed("demo is not wired yet".into()))
}
