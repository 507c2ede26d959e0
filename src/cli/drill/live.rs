//! Drills against a running edge: what an operator may do by its API, watched, and taken back.
//!
//! Never: does anything without being told to, or ends before what it did is taken back or it has said how to.

use crate::cli::args::DrillArgs;
use crate::cli::edge::Edge;
use crate::cli::out::Out;
use crate::cli::{Done, Failure};

/// What is done in one of them.
pub struct LiveDrill {
    /// Its name.
    pub name: &'static str,
    /// What is expected to hold.
    pub hypothesis: &'static str,
}
/// All of them.
pub const DRILLS: &[LiveDrill] = &[];

pub fn drill(_args: &DrillArgs, _edge: &Edge, _out: &mut Out<'_>) -> Done {
    Err(Failure::Failed("later".into()))
}
