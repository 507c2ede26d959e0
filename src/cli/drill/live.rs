//! Drills against a running edge: what an operator may do by its API, watched, and taken back.
//!
//! Never: does anything without being told to, or ends before what it did is taken back or it has said how to. What it
//! sets ends by itself after a while where the edge can do that, should this process be killed.

mod drain;
mod field;
mod freeze;
mod transfer;

use std::time::Duration;

use serde_json::json;

use super::report::{DrillReport, Verdict};
use super::{Telling, chosen, ears};
use crate::cli::args::DrillArgs;
use crate::cli::edge::Edge;
use crate::cli::out::Out;
use crate::cli::stop::Stop;
use crate::cli::wire::text;
use crate::cli::{Done, Failure};

use field::{Field, Trouble, Went};

/// So often it is tried to take something back.
const TRIES: usize = 10;
/// And the time between.
const BETWEEN: Duration = Duration::from_secs(2);

/// One of them.
pub struct LiveDrill {
    /// Its name.
    pub name: &'static str,
    /// What is expected to hold.
    pub hypothesis: &'static str,
    /// Whether it needs a tenant that is named.
    needs_tenant: bool,
    /// Says what would be done.
    plan: fn(&mut Field<'_>) -> Result<(), Failure>,
    /// Does it.
    there: fn(&mut Field<'_>) -> Went,
    /// Takes it back, however far it came; done at the end whatever happened.
    back: fn(&mut Field<'_>) -> Went,
    /// Refusals of these reasons are this drill's doing.
    reasons: &'static [&'static str],
    /// Entries of the audit that have to be there.
    told: &'static [&'static str],
}

/// All of them.
pub const DRILLS: &[LiveDrill] = &[
    LiveDrill {
        name: "planned-transfer",
        hypothesis: "a share of what the region owns, or one tenant, moves to its standby and back, and no write is refused",
        needs_tenant: false,
        plan: transfer::plan,
        there: transfer::there,
        back: transfer::back,
        reasons: &["write_frozen", "split_brain"],
        told: &["transfer_switched", "transfer_released"],
    },
    LiveDrill {
        name: "drain",
        hypothesis: "the region's reads move elsewhere within seconds and come back, and no request is refused for it",
        needs_tenant: false,
        plan: drain::plan,
        there: drain::there,
        back: drain::back,
        reasons: &["no_region", "overloaded"],
        told: &["drain_began", "drain_undone"],
    },
    LiveDrill {
        name: "freeze",
        hypothesis: "writes of a tenant that is frozen for a moment wait, and go on when it is over",
        needs_tenant: true,
        plan: freeze::plan,
        there: freeze::there,
        back: freeze::back,
        reasons: &["write_frozen"],
        told: &["frozen", "unfrozen"],
    },
];

/// Does what was typed.
pub fn drill(args: &DrillArgs, edge: &Edge, out: &mut Out<'_>) -> Done {
    let known: Vec<_> = DRILLS.iter().map(|drill| drill.name).collect();
    let named = |drill: &&LiveDrill| !args.names.is_empty() || !drill.needs_tenant || args.tenant.is_some();
    let chosen: Vec<_> =
        chosen(&args.names, &known)?.into_iter().filter_map(|at| DRILLS.get(at)).filter(named).collect();
    if let (Some(drill), None) = (chosen.iter().find(|drill| drill.needs_tenant), &args.tenant) {
        return Err(Failure::Usage(format!("{} is of one tenant; name it with --tenant", drill.name)));
    }
    // A region that is not there is told of before anything is done.
    for region in &args.region {
        edge.read(&format!("/v1/regions/{}", crate::cli::edge::segment(region)))?;
    }
    let (stop, _ears) = ears()?;
    let mut telling = Telling::begin(&edge.to_string(), args, out)?;
    for region in &args.region {
        for drill in &chosen {
            if stop.within(Duration::ZERO) {
                break;
            }
            let report = one(drill, region, args, edge, &stop)?;
            telling.tell(report)?;
        }
    }
    telling.end()
}

/// Takes it back, again and again while the edge is silent or refuses.
fn take_back(drill: &LiveDrill, field: &mut Field<'_>) -> Went {
    let mut back = (drill.back)(field.unstoppable());
    for _ in 1..TRIES {
        if back.is_ok() {
            break;
        }
        std::thread::sleep(BETWEEN);
        back = (drill.back)(field);
    }
    back
}

fn one(
    drill: &LiveDrill,
    region: &str,
    args: &DrillArgs,
    edge: &Edge,
    stop: &Stop,
) -> Result<DrillReport, Failure> {
    let mut field = Field::open(edge, stop, args, region)?;
    let name = format!("{}, {region}", drill.name);
    if !args.go {
        if let Err(failure) = (drill.plan)(&mut field) {
            field.observe(failure.to_string());
        }
        field.observe("nothing is done; to do it: --go --reason \"…\"");
        return Ok(field.report(name, drill.hypothesis, Verdict::DryRun, Vec::new()));
    }
    let went = (drill.there)(&mut field);
    let begun = field.has_begun();
    let back = if begun { take_back(drill, &mut field) } else { Ok(()) };
    let mut verdict = match went {
        Ok(()) => Verdict::Passed,
        Err(Trouble::Stopped) => {
            field.observe("it was ended before it was over");
            Verdict::Stopped
        }
        Err(Trouble::Otherwise(why)) => {
            field.observe(why);
            if begun { Verdict::Failed } else { Verdict::NotRun }
        }
    };
    if let Err(trouble) = back {
        let why = match trouble {
            Trouble::Otherwise(why) => why,
            Trouble::Stopped => "it was ended".to_owned(),
        };
        field.observe(format!("NOT TAKEN BACK: {why}; to take it back: {}", field.by_hand()));
        verdict = Verdict::Failed;
    }
    let invariants = if begun { field.judge(drill.reasons, drill.told)? } else { Vec::new() };
    if verdict == Verdict::Passed
        && invariants.iter().any(|one| one.violations.is_some_and(|count| count > 0))
    {
        verdict = Verdict::Failed;
    }
    if verdict == Verdict::Passed && !field.took_part().is_empty() {
        let regions = field.took_part().to_vec();
        let kept = edge.ask("/v1/drills", &json!({"regions": regions, "reason": field.reason()}));
        field.observe(match kept {
            Ok(kept) => format!("kept as passed, for readiness: {}", text(&kept, &["regions"])),
            Err(why) => format!("it could not be kept that it was passed: {why}"),
        });
    }
    Ok(field.report(name, drill.hypothesis, verdict, invariants))
}
