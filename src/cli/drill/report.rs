//! What a game day comes to: as JSON for programs, as Markdown for people, and as an exit code.
//!
//! Never: a drill that passed with a violation, or with a step that did not come about.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;

/// So many violations are told one by one.
const EXAMPLES: usize = 3;

/// A whole game day.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The version of this program.
    pub rhumb: &'static str,
    /// `lab`, or the address of the running edge.
    pub against: String,
    /// When it began, UTC.
    pub began: String,
    /// How long it took.
    pub seconds: f64,
    /// What was done, in order.
    pub drills: Vec<DrillReport>,
    /// Violations of all of them.
    pub violations: u64,
    /// Of all of them: the worst.
    pub verdict: Verdict,
}

/// How a drill went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Nothing that should never be.
    Passed,
    /// Nothing was done: it was only said what would be.
    DryRun,
    /// It could not be done here, and why stands in what was observed.
    NotRun,
    /// It was ended before it was over.
    Stopped,
    /// A violation, or something that did not come about.
    Failed,
}

/// One drill.
#[derive(Debug, Serialize)]
pub struct DrillReport {
    /// Its name, as typed.
    pub name: String,
    /// What is expected to hold.
    pub hypothesis: String,
    /// What was done, and when since it began.
    pub steps: Vec<Step>,
    /// What was seen.
    pub observed: Vec<String>,
    /// How long it took until all was well.
    pub recovery: Vec<Recovery>,
    /// How many were asked.
    pub requests: u64,
    /// How many of each kind failed.
    pub errors: BTreeMap<String, u64>,
    /// Writes that waited at the edge.
    pub held_writes: u64,
    /// The longest write among those that were under way while writes were held, its own time included; `null`: none was.
    pub longest_hold_seconds: Option<f64>,
    /// I1 to I10.
    pub invariants: Vec<Invariant>,
    /// How long it took.
    pub seconds: f64,
    /// How it went.
    pub verdict: Verdict,
}

/// One thing that was done.
#[derive(Debug, Clone, Serialize)]
pub struct Step {
    /// Seconds since the drill began.
    pub at: f64,
    /// What.
    pub what: String,
}

/// How long something took to be well.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Recovery {
    /// What, and since when.
    pub what: String,
    /// `null`: it was not well by the end.
    pub seconds: Option<f64>,
}

/// One of the invariants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Invariant {
    /// `I1` to `I10`.
    pub id: &'static str,
    /// What is counted.
    pub counts: &'static str,
    /// `null`: it does not apply.
    pub violations: Option<u64>,
    /// The first of them; or why it does not apply.
    pub notes: Vec<String>,
}

impl Invariant {
    /// One that applies; `wrong` is all that breaks it.
    pub fn counted(id: &'static str, counts: &'static str, mut wrong: Vec<String>) -> Self {
        let violations = u64::try_from(wrong.len()).unwrap_or(u64::MAX);
        wrong.truncate(EXAMPLES);
        Self { id, counts, violations: Some(violations), notes: wrong }
    }

    /// One that does not, and why.
    pub fn not_applicable(id: &'static str, counts: &'static str, why: &str) -> Self {
        Self { id, counts, violations: None, notes: vec![why.to_owned()] }
    }
}

impl DrillReport {
    /// One that is not judged, and why.
    pub fn unjudged(name: &str, hypothesis: &str, why: &str, verdict: Verdict) -> Self {
        Self {
            name: name.to_owned(),
            hypothesis: hypothesis.to_owned(),
            steps: Vec::new(),
            observed: vec![why.to_owned()],
            recovery: Vec::new(),
            requests: 0,
            errors: BTreeMap::new(),
            held_writes: 0,
            longest_hold_seconds: None,
            invariants: Vec::new(),
            seconds: 0.0,
            verdict,
        }
    }

    /// Of all invariants.
    pub fn violations(&self) -> u64 {
        self.invariants.iter().filter_map(|invariant| invariant.violations).sum()
    }
}

impl Report {
    /// Of these drills; what they say is added up.
    pub fn of(against: String, began: String, seconds: f64, drills: Vec<DrillReport>) -> Self {
        let violations = drills.iter().map(DrillReport::violations).sum();
        let verdict = drills.iter().map(|drill| drill.verdict).max().unwrap_or(Verdict::NotRun);
        let rhumb = env!("CARGO_PKG_VERSION");
        Self { rhumb, against, began, seconds, drills, violations, verdict }
    }

    /// The exit code: 0 where nothing was violated and all came about, or nothing was to be done; else 1.
    pub fn code(&self) -> u8 {
        match self.verdict {
            Verdict::Passed | Verdict::DryRun if self.violations == 0 => 0,
            _ => 1,
        }
    }

    /// The head of the Markdown.
    pub fn head(against: &str, began: &str) -> String {
        format!("# Game day: {against}, {began}\n")
    }

    /// The end of it.
    pub fn foot(&self) -> String {
        let mut text =
            String::from("\n## Summary\n\n| drill | violations | verdict |\n| --- | --- | --- |\n");
        for drill in &self.drills {
            // A string takes what is written to it.
            let _ = writeln!(text, "| {} | {} | {} |", drill.name, drill.violations(), drill.verdict.words());
        }
        let _ = writeln!(
            text,
            "\ndrills: {}; seconds: {:.0}; violations: {}; verdict: **{}**",
            self.drills.len(),
            self.seconds,
            self.violations,
            self.verdict.words()
        );
        text
    }
}

impl Verdict {
    /// In words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::DryRun => "nothing was done",
            Self::NotRun => "not run",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
        }
    }
}

impl DrillReport {
    /// As Markdown.
    pub fn markdown(&self) -> String {
        let mut text =
            format!("\n## {}: {}\n\nHypothesis: {}\n", self.name, self.verdict.words(), self.hypothesis);
        let mut list = |heading: &str, lines: Vec<String>| {
            if !lines.is_empty() {
                let lines: String = lines.iter().map(|line| format!("- {line}\n")).collect();
                text.push_str(&format!("\n{heading}:\n\n{lines}"));
            }
        };
        list("Steps", self.steps.iter().map(|step| format!("{:.2} s: {}", step.at, step.what)).collect());
        list("Observed", self.observed.clone());
        list("Recovery", self.recovery.iter().map(Recovery::words).collect());
        let errors = self.errors.iter().map(|(kind, count)| format!("{kind}: {count}"));
        list("Errors by kind", errors.collect());
        if self.requests > 0 {
            let longest = match self.longest_hold_seconds {
                Some(seconds) => format!(", the longest for no more than {seconds:.2} s"),
                None => String::new(),
            };
            text.push_str(&format!(
                "\n{} requests; {} writes were held{longest}.\n",
                self.requests, self.held_writes
            ));
        }
        if !self.invariants.is_empty() {
            text.push_str("\n| invariant | counts | violations |\n| --- | --- | --- |\n");
        }
        for Invariant { id, counts, violations, notes } in &self.invariants {
            let count = violations.map_or_else(|| "not applicable".to_owned(), |count| count.to_string());
            let notes = if notes.is_empty() { String::new() } else { format!(" ({})", notes.join("; ")) };
            text.push_str(&format!("| {id} | {counts} | {count}{notes} |\n"));
        }
        text
    }
}

impl Recovery {
    fn words(&self) -> String {
        match self.seconds {
            Some(seconds) => format!("{}: {seconds:.2} s", self.what),
            None => format!("{}: not by the end of the drill", self.what),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drill(verdict: Verdict, violations: u64) -> DrillReport {
        let wrong = (0..violations).map(|number| format!("w-{number} at us"));
        DrillReport {
            name: "region-dead".into(),
            hypothesis: "reads go on".into(),
            steps: vec![Step { at: 1.25, what: "eu-west-1 refuses connections".into() }],
            observed: vec!["eu-west-1 was seen as DOWN".into()],
            recovery: vec![Recovery { what: "writes".into(), seconds: None }],
            requests: 10,
            errors: BTreeMap::from([("write: 503 owner_unavailable".to_owned(), 2)]),
            held_writes: 3,
            longest_hold_seconds: Some(0.25),
            invariants: vec![
                Invariant::counted("I1", "writes elsewhere", wrong.collect()),
                Invariant::not_applicable("I6", "late", "nothing failed"),
            ],
            seconds: 2.0,
            verdict,
        }
    }

    fn report(drills: Vec<DrillReport>) -> Report {
        Report::of("lab".into(), "2026-12-01T00:00:00Z".into(), 3.0, drills)
    }

    #[test]
    fn the_exit_code_is_0_only_where_nothing_was_violated_and_all_came_about() {
        use Verdict::{DryRun, Failed, NotRun, Passed, Stopped};
        for (verdicts, violations, code) in [
            (&[Passed, Passed][..], 0, 0),
            (&[Passed], 1, 1),
            (&[Passed, Failed], 0, 1),
            (&[Passed, Stopped], 0, 1),
            (&[NotRun, Passed], 0, 1),
            (&[DryRun, DryRun], 0, 0),
            (&[], 0, 1),
        ] {
            let drills = verdicts.iter().map(|verdict| drill(*verdict, violations)).collect();
            assert_eq!(report(drills).code(), code, "{verdicts:?}, {violations} violations each");
        }
    }

    #[test]
    fn a_violation_is_told_with_its_first_examples_and_all_are_counted() {
        let text = drill(Verdict::Failed, 5).markdown();
        assert!(text.contains("| I1 | writes elsewhere | 5 (w-0 at us; w-1 at us; w-2 at us) |"), "{text}");
        assert!(text.contains("| I6 | late | not applicable (nothing failed) |"), "{text}");
        assert!(text.contains("- 1.25 s: eu-west-1 refuses connections"), "{text}");
        assert!(text.contains("- writes: not by the end of the drill"), "{text}");
        assert!(text.contains("3 writes were held, the longest for no more than 0.25 s."), "{text}");
        assert_eq!(report(vec![drill(Verdict::Failed, 5), drill(Verdict::Failed, 2)]).violations, 7);
    }

    #[test]
    fn the_json_has_what_a_program_looks_for() {
        let json = serde_json::to_value(report(vec![drill(Verdict::Passed, 0)])).unwrap();
        assert_eq!((&json["verdict"], &json["violations"]), (&"passed".into(), &0.into()));
        let invariants = &json["drills"][0]["invariants"];
        assert_eq!((&invariants[0]["id"], &invariants[0]["violations"]), (&"I1".into(), &0.into()));
        assert!(invariants[1]["violations"].is_null());
    }
}
