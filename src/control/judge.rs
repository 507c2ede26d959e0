//! May a new table take the place of the one in force?
//!
//! Pure: the tables in, the difference and every problem out.

use std::path::Path;

use rhumb_decision::Weights;
use rhumb_decision::compare::{Difference, EpochFault, compare_pausing};
use rhumb_decision::ownership::Ownerships;
use rhumb_decision::safety::{Broken, Rule, Standing, broken};
use rhumb_decision::table::Table;

use crate::control::aside;
use crate::problem::Problems;

/// What a table is held against.
pub struct InForce<'a> {
    /// The table.
    pub table: &'a Table,
    /// Who owns what now.
    pub ownership: &'a Ownerships,
}

/// What came of it.
pub struct Judgement {
    /// What lies between the two.
    pub difference: Difference,
    /// Why the new one is not taken; empty: it is.
    pub problems: Problems,
    /// Whether the only problem is how many tenants it moves, which an operator may accept.
    pub acceptable: bool,
}

/// Judges `new`, read from `file`.
///
/// - `max_moved`: percent of tenants that may be re-homed or dropped; `None`: any, an operator accepted it.
/// - `place`: where a tenant's row stands: file and line.
#[must_use]
pub fn judge(
    in_force: &InForce<'_>,
    new: &Table,
    max_moved: Option<f64>,
    file: &Path,
    place: impl Fn(&str) -> (std::path::PathBuf, u32),
) -> Judgement {
    let difference = compare_pausing(in_force.table, in_force.ownership, new, aside::pause);
    let mut problems = epoch_problems(&difference, file, place);
    safety(in_force.table, new, &mut problems);
    let sound = problems.is_empty();
    let moves_too_much = max_moved.is_some_and(|limit| difference.moved_percent > limit);
    if let Some(limit) = max_moved.filter(|_| moves_too_much) {
        let what = format!(
            "{} tenants would be re-homed and {} dropped: {:.1} % of them, more than max_moved = {limit} %",
            difference.rehomed, difference.dropped, difference.moved_percent
        );
        let fix = "if that is meant, accept it by its hash: rhumb table accept HASH --reason \"…\"";
        problems.tell(0, "tenants", what, fix);
    }
    Judgement { difference, problems, acceptable: sound && moves_too_much }
}

/// The problems of tenants whose epoch is too low for what the new table says.
pub fn epoch_problems(
    difference: &Difference,
    file: &Path,
    place: impl Fn(&str) -> (std::path::PathBuf, u32),
) -> Problems {
    let mut problems = Problems::of(file);
    for fault in &difference.epoch_faults {
        let (file, line) = place(&fault.tenant);
        let (what, fix) = epoch_words(fault);
        let mut there = Problems::of(file);
        there.tell(line, format_args!("tenants.{}.epoch", fault.tenant), what, fix);
        problems.append(there);
    }
    problems
}

fn epoch_words(fault: &EpochFault) -> (String, String) {
    let EpochFault { in_force, written, .. } = fault;
    let next = in_force.0.saturating_add(1);
    let what = if fault.moves {
        format!("the home changes, and epoch {} is not above {}, which is in force", written.0, in_force.0)
    } else {
        format!("{} is below {}, already in force", written.0, in_force.0)
    };
    let least = if fault.moves { next } else { in_force.0 };
    (what, format!("an epoch only rises: write {least} or more"))
}

/// What the safety rules forbid. Weights are those of the tables, as a table is judged by what it says itself.
fn safety(old: &Table, new: &Table, problems: &mut Problems) {
    let (before, after) = (Weights::configured(old), Weights::configured(new));
    let (before, after) =
        (Standing { table: old, weights: &before }, Standing { table: new, weights: &after });
    for Broken { rule, why } in broken(&before, &after, None) {
        let (at, fix) = match rule {
            Rule::MinRegionsServing => {
                ("safety.min_regions_serving", "give another region weight, or lower the rule first")
            }
            Rule::MaxDrainedShare => {
                ("safety.max_drained_share", "drain less at a time, or raise the rule first")
            }
            // A table is held against `table.max_moved` instead.
            Rule::MaxMovedShare | Rule::Capacity => {
                ("safety.max_moved_share", "move fewer at a time, or raise the rule first")
            }
            Rule::LastRegionOfResidency => {
                ("tenants", "leave them a region with weight that their residency allows, or drop them")
            }
        };
        problems.tell(0, at, why, fix);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::document;
    use std::path::PathBuf;

    const REGIONS: &str = r#"
        [tenancy]
        from = [{ header = "X-Tenant-ID" }]
        [regions.eu]
        jurisdiction = "eu"
        endpoints = ["127.0.0.1:1"]
        capacity = 100
        [regions.us]
        jurisdiction = "us"
        endpoints = ["127.0.0.1:2"]
        capacity = 100
    "#;

    fn table(rest: &str) -> Table {
        document::parse(&format!("{REGIONS}\n{rest}")).unwrap()
    }

    fn judged(old: &Table, new: &Table, max_moved: Option<f64>) -> Judgement {
        let ownership = Ownerships::default();
        let in_force = InForce { table: old, ownership: &ownership };
        judge(&in_force, new, max_moved, Path::new("t.toml"), |_| (PathBuf::from("t.toml"), 7))
    }

    #[test]
    fn a_home_moves_only_with_a_higher_epoch() {
        let old = table("[tenants]\na = { home = \"eu\", epoch = 7 }");
        for (written, sound) in [(6, false), (7, false), (8, true)] {
            let new = table(&format!("[tenants]\na = {{ home = \"us\", epoch = {written} }}"));
            let judgement = judged(&old, &new, None);
            assert_eq!(judgement.problems.is_empty(), sound, "epoch {written}: {}", judgement.problems);
            assert!(!judgement.acceptable, "nobody may accept a broken epoch");
        }
    }

    #[test]
    fn an_epoch_never_falls_and_the_line_is_told() {
        let old = table("[tenants]\na = { home = \"eu\", epoch = 7 }");
        let new = table("[tenants]\na = { home = \"eu\", epoch = 6 }");
        let told = judged(&old, &new, None).problems.to_string();
        assert!(told.contains("line 7, tenants.a.epoch: 6 is below 7, already in force"), "{told}");
    }

    #[test]
    fn moving_too_many_wants_to_be_accepted() {
        let old = table("[tenants]\na = { home = \"eu\" }\nb = { home = \"eu\" }");
        let new = table("[tenants]\na = { home = \"us\", epoch = 2 }\nb = { home = \"eu\" }");
        let judgement = judged(&old, &new, Some(10.0));
        assert!(judgement.acceptable && judgement.problems.to_string().contains("50.0 %"));
        assert!(judged(&old, &new, Some(50.0)).problems.is_empty());
        assert!(judged(&old, &new, None).problems.is_empty());
        let dropped = table("[tenants]\na = { home = \"eu\" }");
        assert!(judged(&old, &dropped, Some(10.0)).acceptable);
    }

    #[test]
    fn safety_rules_judge_the_change_and_not_what_was_so_before() {
        let rules = "[safety]\nmin_regions_serving = 2\nmax_drained_share = 0.25";
        let drained = document::parse(&format!(
            "{}\n{rules}",
            REGIONS.replace("[regions.us]\n", "[regions.us]\nweight = 0\n")
        ))
        .unwrap();
        let told = judged(&table(rules), &drained, None).problems.to_string();
        assert!(
            told.contains("min_regions_serving") && told.contains("50 % of the declared capacity"),
            "{told}"
        );
        assert!(judged(&drained, &drained, None).problems.is_empty(), "it was so before");
    }

    #[test]
    fn nobody_is_left_with_nowhere_legal_to_read() {
        let tenants = "[tenants]\na = { home = \"us\", residency = [\"us\"] }\nb = { home = \"us\", replicas = [\"eu\"] }";
        let drained = REGIONS.replace("[regions.us]\n", "[regions.us]\nweight = 0\n");
        let new = document::parse(&format!("{drained}\n{tenants}")).unwrap();
        let told = judged(&table(tenants), &new, None);
        let words = told.problems.to_string();
        assert!(words.contains("nowhere legal to read: 1, the first of them a"), "{words}");
        assert!(!told.acceptable, "a hash accepts how many move, and nothing else");
        let moved = "[tenants]\na = { home = \"eu\", epoch = 2 }\nb = { home = \"us\", replicas = [\"eu\"] }";
        let moved = document::parse(&format!("{drained}\n{moved}")).unwrap();
        assert!(judged(&table(tenants), &moved, None).problems.is_empty());
    }

    #[test]
    fn every_key_that_differs_is_told() {
        let new = document::parse(&format!(
            "{}\n[[routes]]\nname = \"search\"\npath = \"/s\"\noperation = \"read\"\n[policies.default]\nsticky = \"session\"",
            REGIONS.replace("[regions.us]\n", "[regions.us]\nweight = 40\n")
        ))
        .unwrap();
        let edits = judged(&table(""), &new, None).difference.edits;
        let told: Vec<_> =
            edits.iter().map(|e| (e.at.as_str(), e.from.as_deref(), e.to.as_deref())).collect();
        assert_eq!(
            told,
            [
                ("policies.default.sticky", Some("tenant"), Some("session")),
                ("regions.us.weight", Some("100"), Some("40")),
                ("routes", Some(""), Some("search")),
                ("routes.search", None, Some("path /s, operation read, service default")),
            ]
        );
        assert_eq!(judged(&new, &new, None).difference.edits, []);
    }
}
