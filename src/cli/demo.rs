//! `rhumb demo`.

use super::args::DemoArgs;
use super::{Done, Failure};

/// Runs the demo until it is told to stop.
pub fn demo(_args: DemoArgs) -> Done {
    Err(Failure::Failed("demo is not wired yet".into()))
}
