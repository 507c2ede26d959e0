//! `rhumb drill`: a game day, in a lab of its own or against a running edge, and the report of it.
//!
//! Never: changes a running edge unless it is told to, or leaves a change behind that it could take back.

mod attempt;
mod checks;
mod clients;
mod drills;
mod fleet;
mod history;
mod live;
mod report;
mod sight;
mod world;

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

use super::args::{DrillArgs, Format};
use super::edge::Edge;
use super::out::{Out, list as table};
use super::run::runtime;
use super::stop::Stop;
use super::{Done, Failure};
use crate::control::clock::Clock;
use crate::control::journal::WallTime;

use attempt::Attempt;
use drills::{DRILLS, Drill};
use report::{DrillReport, Report, Verdict};
use world::World;

/// Does what was typed.
///
/// - `named`: whether an edge was named with `--admin`.
/// - `edge`: the running edge.
pub(super) fn drill(
    args: &DrillArgs,
    named: bool,
    edge: impl FnOnce() -> Result<Edge, Failure>,
    out: &mut Out<'_>,
) -> Done {
    if args.list {
        return list(out);
    }
    if args.region.is_empty() {
        if named {
            let told = "--admin is of drills against a running edge; name a region of it with --region";
            return Err(Failure::Usage(told.into()));
        }
        return in_the_lab(args, out);
    }
    live::drill(args, &edge()?, out)
}

fn list(out: &mut Out<'_>) -> Done {
    let all = |where_: &'static str, name: &'static str, hypothesis: &'static str| json!({"where": where_, "name": name, "hypothesis": hypothesis});
    let lab = DRILLS.iter().map(|drill| all("lab", drill.name, drill.hypothesis));
    let live = live::DRILLS.iter().map(|drill| all("edge", drill.name, drill.hypothesis));
    let drills: Vec<Value> = lab.chain(live).collect();
    out.answer(&json!(drills), |_| {
        let rows = drills
            .iter()
            .map(|drill| ["where", "name", "hypothesis"].map(|key| super::wire::text(drill, &[key])));
        table(["WHERE", "NAME", "HYPOTHESIS"], rows)
    })
}

fn in_the_lab(args: &DrillArgs, out: &mut Out<'_>) -> Done {
    let known: Vec<_> = DRILLS.iter().map(|drill| drill.name).collect();
    let chosen: Vec<Drill> =
        chosen(&args.names, &known)?.into_iter().filter_map(|at| DRILLS.get(at)).copied().collect();
    let mut telling = Telling::begin("the lab", args, out)?;
    let (stop, _ears) = ears()?;
    let world = World::start(&chosen, &stop)?;
    attempt::whole(&world)?;
    for drill in &chosen {
        let report = Attempt::run(&world, drill, Duration::from_secs(args.seconds));
        // What happened before it is told all the same.
        let over = stop.within(Duration::ZERO);
        let report = report.unwrap_or_else(|failure| {
            let verdict = if over { Verdict::Stopped } else { Verdict::Failed };
            DrillReport::unjudged(drill.name, drill.hypothesis, &failure.to_string(), verdict)
        });
        telling.tell(report)?;
        if over {
            break;
        }
    }
    world.end()?;
    telling.end()
}

/// What Ctrl-C and SIGTERM ask, for as long as the ears are held: to end the game day, and take back first what was done.
fn ears() -> Result<(Stop, Runtime), Failure> {
    let (stop, runtime) = (Stop::new(), runtime("signals", 1)?);
    let (interrupt, terminate) = {
        let _entered = runtime.enter();
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    };
    let failed = |e: std::io::Error| Failure::Failed(format!("signals cannot be taken: {e}"));
    let (mut interrupt, mut terminate) = (interrupt.map_err(failed)?, terminate.map_err(failed)?);
    let asked = stop.clone();
    runtime.spawn(async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => asked.ask(),
                _ = terminate.recv() => asked.ask(),
            }
        }
    });
    Ok((stop, runtime))
}

/// The places of `names` among those that are `known`, in the order of these; all where none is named.
///
/// Errors: nobody knows a name.
fn chosen(names: &[String], known: &[&str]) -> Result<Vec<usize>, Failure> {
    if let Some(unknown) = names.iter().find(|name| !known.contains(&name.as_str())) {
        let told = format!("there is no drill {unknown:?} here; there are {}", known.join(", "));
        return Err(Failure::Usage(told));
    }
    let wanted = |name: &&str| names.is_empty() || names.iter().any(|named| named == name);
    Ok((0..).zip(known).filter(|(_, name)| wanted(name)).map(|(at, _)| at).collect())
}

/// Tells of each drill as soon as it is over, and of all at the end.
struct Telling<'t, 'o> {
    against: String,
    began: String,
    clock: Clock,
    drills: Vec<DrillReport>,
    file: Option<&'t Path>,
    out: &'t mut Out<'o>,
}

impl<'t, 'o> Telling<'t, 'o> {
    /// Nothing has been done yet. A report that cannot be written is told of before anything is.
    fn begin(against: &str, args: &'t DrillArgs, out: &'t mut Out<'o>) -> Result<Self, Failure> {
        let clock = Clock::system();
        let began = WallTime::from(clock.wall()).to_string();
        if let Some(file) = &args.report {
            std::fs::write(file, "").map_err(|cause| unwritten(file, &cause))?;
        }
        if out.format() == Format::Table {
            out.text(&Report::head(against, &began))?;
        }
        let (against, file) = (against.to_owned(), args.report.as_deref());
        Ok(Self { against, began, clock, drills: Vec::new(), file, out })
    }

    fn tell(&mut self, drill: DrillReport) -> Done {
        if self.out.format() == Format::Table {
            self.out.text(&drill.markdown())?;
        }
        self.drills.push(drill);
        Ok(())
    }

    /// The end, and the exit code.
    fn end(self) -> Done {
        let seconds = (self.clock.elapsed().as_secs_f64() * 10.0).round() / 10.0;
        let report = Report::of(self.against, self.began, seconds, self.drills);
        let written = serde_json::to_value(&report).map_err(|cause| Failure::Failed(cause.to_string()))?;
        if let Some(file) = self.file {
            std::fs::write(file, format!("{written:#}\n")).map_err(|cause| unwritten(file, &cause))?;
        }
        self.out.answer(&written, |_| report.foot())?;
        match report.code() {
            0 => Ok(()),
            _ => Err(Failure::Failed(format!("the game day is {}", report.verdict.words()))),
        }
    }
}

fn unwritten(file: &Path, cause: &std::io::Error) -> Failure {
    Failure::Failed(format!("cannot write the report to {}: {cause}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drills_are_done_in_the_order_of_the_list_and_an_unknown_one_is_named() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(chosen(&names(&["c", "a"]), &["a", "b", "c"]).unwrap(), [0, 2]);
        assert_eq!(chosen(&[], &["a", "b"]).unwrap(), [0, 1]);
        let told = chosen(&names(&["a", "sail"]), &["a", "b"]).unwrap_err();
        assert!(told.to_string().contains("\"sail\"") && told.to_string().contains("a, b"), "{told}");
    }
}
