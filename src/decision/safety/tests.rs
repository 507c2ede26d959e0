use super::*;
use crate::plan::{Question, plan};
use crate::scope::Scope;
use crate::snapshot::Snapshot;
use crate::table::Safety;
use crate::testing::{Here, here, table};
use std::sync::Arc;

fn rules() -> Safety {
    Safety { min_regions_serving: 2, max_drained_share: 0.5, max_moved_share: 0.5, require_residency: false }
}

/// Three regions of which two more than suffice; `alone` may not leave eu.
fn whole(safety: Safety) -> Table {
    table(
        &["eu", "in", "us"].map(here),
        safety,
        &[["alone", "eu", "", "eu"], ["free", "eu", "us", ""], ["other", "us", "", ""]],
    )
}

/// What setting `scope` to `to` would break, on `table` under `weights`.
fn breaks(table: &Table, weights: &Weights, scope: &Scope, to: u8) -> Vec<&'static str> {
    let place = scope.find(table).unwrap();
    let snapshot = Snapshot::offline(Arc::new(table.clone())).with_weights(weights.clone());
    let question = Question { source: RegionId(0), place, to: Weight::percent(to), hour: 0 };
    let after = place.with_weight(weights.clone(), question.to);
    let planned = plan(&snapshot, &question);
    let (before, after) = (Standing { table, weights }, Standing { table, weights: &after });
    broken(&before, &after, Some(&planned)).into_iter().map(|broken| broken.rule.code()).collect()
}

fn configured_breaks(table: &Table, scope: &str, to: u8) -> Vec<&'static str> {
    breaks(table, &Weights::configured(table), &Scope::region(scope), to)
}

#[test]
fn a_change_that_no_rule_concerns_breaks_none() {
    let table = whole(rules());
    assert_eq!(configured_breaks(&table, "in", 0), [""; 0]);
    assert_eq!(configured_breaks(&table, "eu", 1), [""; 0], "what is left of it serves its own");
}

#[test]
fn the_last_region_of_a_residency_is_not_drained() {
    assert_eq!(configured_breaks(&whole(rules()), "eu", 0), ["last_region_of_residency"]);
    assert_eq!(configured_breaks(&whole(rules()), "us", 0), ["last_region_of_residency"], "a lone home");
}

#[test]
fn no_more_tenants_than_allowed_move_by_one_command() {
    // One of three moves; the stranded ones do not.
    let strict = whole(Safety { max_moved_share: 0.3, ..rules() });
    assert_eq!(configured_breaks(&strict, "eu", 0), ["max_moved_share", "last_region_of_residency"]);
    assert_eq!(configured_breaks(&whole(Safety { max_moved_share: 0.34, ..rules() }), "eu", 0).len(), 1);
}

#[test]
fn a_region_too_few_is_told_and_so_is_every_further_one() {
    let table = whole(Safety { max_drained_share: 1.0, ..rules() });
    let one_left = Weights::configured(&table).with_region(RegionId(1), Weight::NONE);
    let few = breaks(&table, &one_left, &Scope::region("us"), 0);
    assert_eq!(few, ["min_regions_serving", "last_region_of_residency"]);
    let none_but_eu = one_left.with_region(RegionId(2), Weight::NONE);
    assert!(breaks(&table, &none_but_eu, &Scope::region("eu"), 0).contains(&"min_regions_serving"));
}

#[test]
fn what_was_broken_before_does_not_stand_in_the_way_of_what_makes_it_no_worse() {
    let table = whole(Safety { max_drained_share: 0.1, ..rules() });
    let drained = Weights::configured(&table)
        .with_region(RegionId(1), Weight::NONE)
        .with_region(RegionId(2), Weight::NONE);
    assert_eq!(breaks(&table, &drained, &Scope::region("in"), 50), [""; 0], "it gets better");
    assert_eq!(breaks(&table, &drained, &Scope::region("in"), 0), [""; 0], "it stays");
    assert_eq!(breaks(&table, &drained, &Scope::region("eu"), 90), ["max_drained_share"], "it gets worse");
}

#[test]
fn the_share_that_is_drained_is_counted_in_capacity() {
    let small = || Here { capacity: Some(10), ..here("eu") };
    let regions = [small(), here("us"), Here { capacity: None, ..here("x") }];
    let table = table(&regions, rules(), &[]);
    let at = |region, to| {
        let weights = Weights::configured(&table).with_region(RegionId(region), Weight::percent(to));
        Standing { table: &table, weights: &weights }.drained_share()
    };
    assert!((at(0, 0) - 10.0 / 110.0).abs() < 1e-9);
    assert!((at(1, 40) - 60.0 / 110.0).abs() < 1e-9);
    assert!(at(2, 0).abs() < 1e-9, "nobody said what it is built for");
    assert_eq!(configured_breaks(&table, "us", 44), ["max_drained_share"]);
}

#[test]
fn cells_are_parts_of_their_region() {
    let celled = || Here { cells: &[("a", 100), ("b", 100)], ..here("eu") };
    let table = table(&[celled(), here("us")], rules(), &[]);
    let one_gone = Weights::configured(&table).with_cell(RegionId(0), CellId(0), Weight::NONE);
    let standing = Standing { table: &table, weights: &one_gone };
    assert_eq!(standing.serving(), 2);
    assert!((standing.drained_share() - 0.25).abs() < 1e-9);
    let both = breaks(&table, &one_gone, &Scope::cell("eu", "b"), 0);
    assert_eq!(both, ["min_regions_serving"], "with its last cell a region serves no more");
}

#[test]
fn a_region_that_is_off_neither_serves_nor_has_capacity_left() {
    let table = table(&[here("eu"), Here { role: Role::Off, ..here("us") }], Safety::default(), &[]);
    let standing = Standing { table: &table, weights: &Weights::configured(&table) };
    assert_eq!(standing.serving(), 1);
    assert!((standing.drained_share() - 0.5).abs() < 1e-9);
}

/// What a table that takes the place of another breaks.
fn replaced(old: &Table, new: &Table) -> Vec<Broken> {
    let (before, after) = (Weights::configured(old), Weights::configured(new));
    broken(&Standing { table: old, weights: &before }, &Standing { table: new, weights: &after }, None)
}

#[test]
fn a_table_that_leaves_tenants_nowhere_to_read_is_told_with_the_first_of_them() {
    let rows = [["a", "us", "", ""], ["b", "eu", "", "eu"], ["c", "eu", "us", ""], ["d", "eu", "", ""]];
    let old = table(&["eu", "us"].map(here), Safety::default(), &rows);
    let drained = || [Here { weight: 0, ..here("eu") }, here("us")];
    let new = table(&drained(), Safety::default(), &rows);
    let told = replaced(&old, &new);
    let [Broken { rule: Rule::LastRegionOfResidency, why }] = &told[..] else { panic!("{told:?}") };
    assert_eq!(why, "tenants left with nowhere legal to read: 1, the first of them b");
    assert_eq!(replaced(&new, &new), [], "it was so before");
    let free = table(&drained(), Safety::default(), &rows[2..]);
    assert_eq!(replaced(&old, &free), [], "who may go anywhere has a copy where the table says");
    let with_a_new_one = table(&drained(), Safety::default(), &[["new", "eu", "", ""]]);
    assert_eq!(replaced(&new, &with_a_new_one), [], "who is new is left by nobody");
}

#[test]
fn every_rule_is_known_by_its_code() {
    for rule in Rule::ALL {
        assert_eq!(Rule::of_code(rule.code()), Some(rule));
    }
    assert_eq!(Rule::of_code("all"), None);
}
