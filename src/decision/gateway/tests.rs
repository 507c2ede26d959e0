use proptest::prelude::*;
use serde::Deserialize;

use super::*;
use crate::facts::Facts;
use crate::ownership::{Ownership, Ownerships, State};
use crate::reason::Refusal;
use crate::snapshot::{Snapshot, Weights};
use crate::table::{Role, Safety};
use crate::testing::{Here, here, table};
use crate::units::{Generation, RegionId};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    say: String,
    #[serde(default = "eu")]
    to: String,
    shown: String,
    known: String,
    #[serde(default)]
    many: String,
    #[serde(default)]
    of_another_policy: bool,
    needs: String,
    says: String,
    #[serde(default)]
    news: String,
}

fn eu() -> String {
    "eu".into()
}

fn claim(text: &str) -> Option<Claim<'_>> {
    let (owner, epoch) = text.split_once('@')?;
    Some(Claim { owner, epoch: super::epoch(epoch).unwrap() })
}

fn written(claim: Claim<'_>) -> String {
    format!("{}@{}", claim.owner, claim.epoch.0)
}

impl Case {
    fn needs(&self) -> Needs {
        match self.needs.as_str() {
            "write" => Needs::Write,
            "owner" => Needs::Owner,
            "copy" => Needs::Copy,
            other => panic!("{other}"),
        }
    }

    fn judged(&self) -> (String, String) {
        let writers = match self.many.as_str() {
            "" => Writers::Owner,
            "here" | "read" => Writers::Many { here: true },
            "elsewhere" => Writers::Many { here: false },
            other => panic!("{other}"),
        };
        let (disputed, withheld) = (self.known.ends_with('!'), self.known.ends_with('?'));
        let known = claim(self.known.trim_end_matches(['!', '?']));
        let known = known.map(|ownership| Known { ownership, disputed, withheld, writers });
        let is_ownership = !self.of_another_policy && (self.many.is_empty() || self.needs() != Needs::Write);
        let said = Said { target: &self.to, claim: claim(&self.shown), is_ownership };
        let judged = judge(&said, known.as_ref(), self.needs(), "eu");
        let says = match judged.verdict {
            Judgement::Pass => "pass".to_owned(),
            Judgement::Misdirected => "misdirected".to_owned(),
            Judgement::StaleEpoch(claim) => format!("stale {}", written(claim)),
            Judgement::SplitBrain => "split_brain".to_owned(),
            Judgement::Withheld => "withheld".to_owned(),
        };
        (says, judged.news.map(written).unwrap_or_default())
    }
}

#[test]
fn every_case_is_judged_as_it_says() {
    #[derive(Deserialize)]
    struct File {
        case: Vec<Case>,
    }
    let file: File = toml::from_str(include_str!("../../../tests/gateway/judge.toml")).unwrap();
    assert!(file.case.len() >= 30, "{}", file.case.len());
    for case in file.case {
        assert_eq!(case.judged(), (case.says.clone(), case.news.clone()), "{}", case.say);
    }
}

const NAMES: [&str; 3] = ["eu", "us", "ap"];

fn claims() -> impl Strategy<Value = Claim<'static>> {
    (prop::sample::select(&NAMES[..]), 0_u64..6)
        .prop_map(|(owner, epoch)| Claim { owner, epoch: Epoch(epoch) })
}

fn needs() -> impl Strategy<Value = Needs> {
    prop::sample::select(&[Needs::Write, Needs::Owner, Needs::Copy][..])
}

/// What one gateway knows of one tenant, as it takes news: the higher epoch holds, an equal one is a dispute.
struct Memory(Known<'static>);

impl Memory {
    fn take(&mut self, news: Claim<'static>) {
        let known = &mut self.0;
        match news.epoch.cmp(&known.ownership.epoch) {
            std::cmp::Ordering::Less => panic!("{news:?} is no news to {known:?}"),
            std::cmp::Ordering::Equal => known.disputed = true,
            std::cmp::Ordering::Greater => (known.ownership, known.disputed) = (news, false),
        }
    }
}

proptest! {
    #[test]
    fn in_any_order_of_requests_epochs_rise_and_no_write_passes_outside_the_highest_owner(
        first in claims(),
        asked in prop::collection::vec((prop::option::of(claims()), needs(), any::<bool>()), 0..40),
    ) {
        let mut memory = Memory(Known { ownership: first, disputed: false, withheld: false, writers: Writers::Owner });
        let mut highest = vec![first];
        for (claim, needs, is_ownership) in asked {
            let said = Said { target: "eu", claim, is_ownership };
            let before = memory.0;
            let judged = judge(&said, Some(&before), needs, "eu");
            if let Some(claim) = claim.filter(|_| is_ownership) {
                highest.push(claim);
            }
            if let Some(news) = judged.news {
                memory.take(news);
                let again = judge(&said, Some(&memory.0), needs, "eu");
                prop_assert_eq!(again.news, None, "news is news once");
                prop_assert_eq!(again.verdict, judged.verdict, "and was judged by before");
            }
            prop_assert!(memory.0.ownership.epoch >= before.ownership.epoch);
            let top = highest.iter().map(|claim| claim.epoch).max();
            prop_assert_eq!(Some(memory.0.ownership.epoch), top, "the highest epoch seen is the one that is known");
            if needs == Needs::Write && judged.verdict == Judgement::Pass {
                prop_assert!(
                    highest.iter().filter(|claim| Some(claim.epoch) == top).all(|claim| claim.owner == "eu"),
                    "{said:?} passed among {highest:?}"
                );
                prop_assert_eq!(claim.map(|claim| claim.epoch), top);
            }
        }
    }

    #[test]
    fn what_was_sent_to_another_region_never_passes_and_tells_nothing(
        claim in prop::option::of(claims()), known in prop::option::of(claims()), needs in needs(),
        target in "[a-z-]{0,4}", many in any::<bool>(), is_ownership in any::<bool>(),
    ) {
        prop_assume!(target != "eu");
        let writers = if many { Writers::Many { here: true } } else { Writers::Owner };
        let known = known.map(|ownership| Known { ownership, disputed: false, withheld: false, writers });
        let judged = judge(&Said { target: &target, claim, is_ownership }, known.as_ref(), needs, "eu");
        prop_assert_eq!(judged, Judged { news: None, verdict: Judgement::Misdirected });
    }
}

const WEST: RegionId = RegionId(1);

fn shown(tenant: Option<&str>, ownership: Option<(&str, u64)>) -> Shown {
    Shown {
        tenant: tenant.map(Into::into),
        source: "us".into(),
        target: "eu-west".into(),
        ownership: ownership.map(|(owner, epoch)| (owner.into(), Epoch(epoch))),
        policy: "default".into(),
        hops: 1,
        failover: None,
        prior: None,
    }
}

fn world(regions: &[Here]) -> Snapshot {
    let rows = [["acme", "eu-west", "eu-east", "eu-west eu-east"], ["globex", "us", "eu-west", ""]];
    // A region's jurisdiction is its name.
    Snapshot::offline(table(regions, Safety::default(), &rows).into())
}

fn regions() -> [Here; 3] {
    [here("eu-east"), here("eu-west"), here("us")]
}

fn ask<'a>(method: &'a str, tenants: &'a [&'a str]) -> Facts<'a> {
    Facts { tenant_headers: tenants, ..Facts::new(method, "any.example", "/", RegionId(2)) }
}

fn refusal(snapshot: &Snapshot, facts: &Facts<'_>, shown: &Shown) -> Option<Refusal> {
    decide(facts, shown, snapshot, WEST).decision.refusal()
}

#[test]
fn a_request_goes_to_an_endpoint_of_its_own_region_whatever_its_weight() {
    let mut there = regions();
    there[1].weight = 0;
    let snapshot = world(&there);
    for method in ["GET", "POST"] {
        let shown = shown(Some("acme"), Some(("eu-west", 1)));
        let gated = decide(&ask(method, &["acme"]), &shown, &snapshot, WEST);
        assert_eq!((gated.decision.target(), gated.news), (Some(WEST), None), "{method}");
        assert_eq!(gated.decision.owner, Some(WEST));
    }
}

#[test]
fn a_region_that_is_down_sends_nothing_to_another() {
    let mut snapshot = world(&regions());
    let mut health = snapshot.health().clone();
    for endpoint in &mut health.regions[WEST.index()].endpoints {
        endpoint.checked = crate::health::Status::Down;
    }
    let (table, weights) = (snapshot.table().clone(), Weights::configured(snapshot.table()));
    snapshot = Snapshot::new(Generation(1), table, health, Ownerships::default(), weights);
    let (acme, globex) = (shown(Some("acme"), Some(("eu-west", 1))), shown(Some("globex"), Some(("us", 1))));
    assert_eq!(refusal(&snapshot, &ask("POST", &[]), &acme), Some(Refusal::OwnerUnavailable));
    assert_eq!(refusal(&snapshot, &ask("GET", &[]), &globex), Some(Refusal::NoRegion));
}

#[test]
fn what_the_edge_shows_and_what_the_request_says_have_to_agree() {
    let snapshot = world(&regions());
    let acme = shown(Some("acme"), Some(("eu-west", 1)));
    assert_eq!(refusal(&snapshot, &ask("GET", &["acme"]), &acme), None);
    assert_eq!(refusal(&snapshot, &ask("GET", &[]), &acme), None, "only the edge can tell");
    assert_eq!(refusal(&snapshot, &ask("GET", &["globex"]), &acme), Some(Refusal::TenantConflict));
    assert_eq!(refusal(&snapshot, &ask("GET", &["globex", "acme"]), &acme), Some(Refusal::TenantConflict));
    let nobody = shown(Some("nobody"), Some(("eu-west", 1)));
    assert_eq!(refusal(&snapshot, &ask("GET", &[]), &nobody), Some(Refusal::TenantUnknown));
    let odd = shown(Some("a/b"), None);
    assert_eq!(refusal(&snapshot, &ask("GET", &[]), &odd), Some(Refusal::BadRequest));
    assert_eq!(refusal(&snapshot, &ask("GET", &[]), &shown(None, None)), Some(Refusal::TenantMissing));
    let behind = shown(None, None);
    assert_eq!(refusal(&snapshot, &ask("POST", &["acme"]), &behind), Some(Refusal::StaleEpoch));
    assert_eq!(refusal(&snapshot, &ask("TRACE", &[]), &acme), Some(Refusal::MethodNotAllowed));
}

#[test]
fn residency_is_judged_here_too() {
    let rows = [["acme", "us", "", "us"]];
    let snapshot = Snapshot::offline(table(&regions(), Safety::default(), &rows).into());
    assert_eq!(
        refusal(&snapshot, &ask("GET", &[]), &shown(Some("acme"), Some(("us", 1)))),
        Some(Refusal::Residency)
    );
}

#[test]
fn roles_and_states_of_the_table_stop_writes() {
    let mut there = regions();
    there[1].role = Role::ReadOnly;
    let acme = shown(Some("acme"), Some(("eu-west", 1)));
    assert_eq!(refusal(&world(&there), &ask("POST", &[]), &acme), Some(Refusal::OwnerReadOnly));
    assert_eq!(refusal(&world(&there), &ask("GET", &[]), &acme), None);
    let before = world(&regions());
    for (state, told) in [
        (State::Frozen { waits: true }, Refusal::WriteFrozen),
        (State::Moving, Refusal::WriteFrozen),
        (State::ReadOnly, Refusal::OwnerReadOnly),
        (State::Disputed, Refusal::SplitBrain),
    ] {
        let snapshot = moved(&before, Ownership { owner: WEST, epoch: Epoch(2), state });
        let acme = shown(Some("acme"), Some(("eu-west", 2)));
        assert_eq!(refusal(&snapshot, &ask("POST", &[]), &acme), Some(told));
        assert_eq!(refusal(&snapshot, &ask("GET", &[]), &acme), None);
    }
}

/// The same world, in which ownership of acme has moved.
fn moved(before: &Snapshot, to: Ownership) -> Snapshot {
    let table = before.table();
    let moved = Ownerships::supposed([("acme", to)], table);
    let weights = Weights::configured(table);
    Snapshot::new(Generation(1), table.clone(), before.health().clone(), moved, weights)
}

#[test]
fn what_a_region_that_the_table_does_not_have_owns_is_not_owned_here() {
    let before = world(&regions());
    let nowhere = Ownership { owner: RegionId(99), epoch: Epoch(2), state: State::Active };
    let snapshot = moved(&before, nowhere);
    for (owner, epoch) in [("eu-west", 1), ("eu-west", 2), ("elsewhere", 2)] {
        let acme = shown(Some("acme"), Some((owner, epoch)));
        let facts = ask("POST", &[]);
        let gated = decide(&facts, &acme, &snapshot, WEST);
        assert_eq!((gated.decision.refusal(), gated.news), (Some(Refusal::OwnerUnavailable), None));
        assert_eq!(gated.decision.owner, None);
        assert_eq!(refusal(&snapshot, &ask("GET", &[]), &acme), None, "a copy may answer");
    }
    let settled = shown(Some("acme"), Some(("eu-west", 3)));
    assert_eq!(refusal(&snapshot, &ask("POST", &[]), &settled), None, "and what is newer holds");
}

#[test]
fn news_is_told_with_whose_it_is_and_the_decision_shows_it() {
    let snapshot = world(&regions());
    let moved = shown(Some("acme"), Some(("eu-east", 2)));
    for (method, refused) in [("POST", Some(Refusal::StaleEpoch)), ("GET", None)] {
        let facts = ask(method, &[]);
        let gated = decide(&facts, &moved, &snapshot, WEST);
        assert_eq!(gated.news, Some(("acme", Claim { owner: "eu-east", epoch: Epoch(2) })), "{method}");
        assert_eq!(gated.decision.refusal(), refused, "{method}");
        assert_eq!((gated.decision.owner, gated.decision.epoch), (Some(RegionId(0)), Some(Epoch(2))));
    }
    let elsewhere = Shown { target: "eu-east".into(), ..moved };
    let facts = ask("POST", &[]);
    let gated = decide(&facts, &elsewhere, &snapshot, WEST);
    assert_eq!((gated.decision.refusal(), gated.news), (Some(Refusal::Misdirected), None));
}
