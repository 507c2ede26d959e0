//! The journal of operators' changes, opened at the start.

use std::path::Path;

use rhumb_decision::operated::Now;
use rhumb_decision::units::Wall;

use crate::cli::Failure;
use crate::control::clock::Clock;
use crate::control::desk::Desk;
use crate::control::journal::FileJournal;

/// The desk as the journal in `state_dir` has it, and the number of this process.
///
/// Errors: the journal cannot be read, or is of a later version; serving without it would forget what operators said.
pub fn open(state_dir: &Path, clock: &Clock) -> Result<(Desk, u64), Failure> {
    let wall = clock.wall();
    // Two processes that share a folder one after the other never begin in the same nanosecond.
    let run = u64::try_from(wall.as_nanos()).unwrap_or(u64::MAX) ^ u64::from(std::process::id());
    let now = Now { at: clock.now(), wall: Wall(u64::try_from(wall.as_millis()).unwrap_or(u64::MAX)) };
    let cannot =
        |what: &dyn std::fmt::Display| Failure::Usage(format!("state.dir, {}: {what}", state_dir.display()));
    let opened = FileJournal::open(state_dir).map_err(|e| cannot(&e))?;
    let (desk, told) = Desk::open(opened, run, now).map_err(|e| cannot(&e))?;
    for line in told {
        tracing::warn!("{line}");
    }
    Ok((desk, run))
}
