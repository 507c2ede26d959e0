//! Holds what clients saw against what regions executed, and counts what should never have been.
//!
//! Never: asks anybody, or lets a thing pass that a drill did not say beforehand.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use super::history::{Ask, Asked, Came, History};
use super::report::{Invariant, Recovery};

/// So much longer than its deadline a request may take.
const GRACE: Duration = Duration::from_secs(1);

/// One write that a region executed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Executed {
    /// Its id.
    pub id: String,
    /// Whose.
    pub tenant: String,
    /// Where.
    pub region: String,
    /// The owner that the edge named to the region.
    pub owner: Option<String>,
    /// The epoch that the edge named to it.
    pub epoch: Option<u64>,
    /// When.
    pub at: Instant,
}

/// Errors of these, within this time, are what the drill is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Excuse {
    /// Of whom.
    pub asks: &'static [Ask],
    /// Since the drill's clock began.
    pub from: Duration,
    /// Since then too; whoever began before it is excused.
    pub until: Duration,
}

/// All that a drill is judged by.
#[derive(Debug, Default)]
pub struct Facts {
    /// What clients asked.
    pub history: History,
    /// What regions executed for the drill's tenants.
    pub executed: Vec<Executed>,
    /// Who owned which tenant at which epoch, as the edge said after every step.
    pub owners: BTreeMap<(String, u64), String>,
    /// Regions outside its residency that saw the bound tenant.
    pub strays: Vec<String>,
    /// Writes that were acknowledged by a region that is gone, and had not been copied to the one that took over.
    pub lost: BTreeSet<String>,
    /// Errors that were to be expected.
    pub excused: Vec<Excuse>,
    /// How long a request may take.
    pub deadline: Duration,
    /// How long it took until all was well, after what.
    pub recovery: Vec<Recovery>,
    /// What was to be seen of it by an operator, and whether it was.
    pub sights: Vec<(String, bool)>,
    /// What was not given back when clients had left; `None`: it was not looked at.
    pub left: Option<Vec<String>>,
}

impl Facts {
    /// I1 to I10, in this order.
    pub fn judge(&self) -> Vec<Invariant> {
        vec![
            self.only_owners_write(),
            counted("I2", "bytes of a bound tenant outside its residency", self.strays.clone()),
            self.acknowledged_is_done_once(),
            self.reads_are_fresh(),
            self.errors_are_excused(),
            self.all_is_well_again(),
            self.nobody_waits_for_ever(),
            self.all_is_given_back(),
            self.the_untouched_notices_nothing(),
            self.it_can_be_seen(),
        ]
    }

    /// The errors that the drill did not say beforehand.
    fn unexcused(&self) -> impl Iterator<Item = &Asked> {
        self.history.of(Ask::TOUCHED).filter(|asked| !asked.is_good()).filter(|asked| {
            !self.excused.iter().any(|excuse| {
                excuse.asks.contains(&asked.ask) && asked.ended >= excuse.from && asked.began <= excuse.until
            })
        })
    }

    fn only_owners_write(&self) -> Invariant {
        let mut firsts: BTreeMap<&str, BTreeMap<u64, Instant>> = BTreeMap::new();
        for done in &self.executed {
            let Some(epoch) = done.epoch else { continue };
            let first = firsts.entry(&done.tenant).or_default().entry(epoch).or_insert(done.at);
            *first = done.at.min(*first);
        }
        let wrong = self.executed.iter().filter_map(|done| {
            let Executed { id, tenant, region, owner, epoch, at } = done;
            let Some(epoch) = *epoch else { return Some(format!("{id} at {region} without an epoch")) };
            let owned_by = self.owners.get(&(tenant.clone(), epoch));
            if owner.as_ref() != Some(region) || owned_by != Some(region) {
                let owned_by = owned_by.map_or("nobody", String::as_str);
                return Some(format!("{id} at {region} under epoch {epoch}, which is {owned_by}'s"));
            }
            let later = firsts
                .get(tenant.as_str())
                .into_iter()
                .flatten()
                .find(|(e, first)| **e > epoch && *first < at);
            later.map(|(later, _)| {
                format!("{id} at {region} under epoch {epoch}, after epoch {later} had begun")
            })
        });
        counted(
            "I1",
            "writes executed at a region that was not the owner at the epoch in force",
            wrong.collect(),
        )
    }

    fn acknowledged_is_done_once(&self) -> Invariant {
        let mut times: BTreeMap<&str, u64> = BTreeMap::new();
        for done in &self.executed {
            *times.entry(&done.id).or_default() += 1;
        }
        let twice = times.iter().filter(|(_, times)| **times > 1);
        let mut wrong: Vec<_> = twice.map(|(id, times)| format!("{id} was executed {times} times")).collect();
        let acknowledged = self.writes().filter(|asked| asked.is_good()).map(Asked::id);
        let never = acknowledged.filter(|id| !times.contains_key(id.as_str()));
        wrong.extend(never.map(|id| format!("{id} was acknowledged and never executed")));
        counted("I3", "acknowledged writes not executed exactly once, and writes executed twice", wrong)
    }

    fn reads_are_fresh(&self) -> Invariant {
        let mut acknowledged: BTreeMap<&str, BTreeSet<u64>> = BTreeMap::new();
        let kept = self.writes().filter(|asked| asked.is_good() && !self.lost.contains(&asked.id()));
        for write in kept {
            acknowledged.entry(&write.key).or_default().insert(write.number);
        }
        let reads = self.history.of(&[Ask::Session, Ask::Strong]).filter_map(|asked| match &asked.came {
            Came::Answer { value, degraded: false, .. } if asked.is_good() => {
                Some((asked, value.unwrap_or(0)))
            }
            _ => None,
        });
        let stale = reads.filter_map(|(asked, value)| {
            let known = acknowledged.get(asked.key.as_str())?;
            let floor = *known.range(..=asked.number).next_back()?;
            let (key, what) = (&asked.key, asked.ask.words());
            let who = asked.region().unwrap_or("nobody");
            (value < floor)
                .then(|| format!("a {what} of {key} at {who} gave {value}, and {floor} was acknowledged"))
        });
        counted(
            "I4",
            "reads older than their client's pin, and strong reads older than an acknowledged write",
            stale.collect(),
        )
    }

    fn errors_are_excused(&self) -> Invariant {
        let errors = self.unexcused().map(|asked| {
            format!("a {} at {:.2} s got {}", asked.ask.words(), asked.began.as_secs_f64(), asked.kind())
        });
        counted("I5", "errors outside the fault and the time it takes to notice it", errors.collect())
    }

    fn all_is_well_again(&self) -> Invariant {
        let says = "kinds of requests that did not recover";
        if self.recovery.is_empty() {
            return Invariant::not_applicable("I6", says, "nothing was to fail, so nothing had to recover");
        }
        let never = self.recovery.iter().filter(|recovery| recovery.seconds.is_none());
        counted("I6", says, never.map(|never| never.what.clone()).collect())
    }

    fn nobody_waits_for_ever(&self) -> Invariant {
        let bound = self.deadline + GRACE;
        let late = self.history.0.iter().filter(|asked| asked.came == Came::Hung || asked.took() > bound);
        let late =
            late.map(|asked| format!("a {} took {:.2} s", asked.ask.words(), asked.took().as_secs_f64()));
        counted("I7", "requests that outlived their deadline by more than a second", late.collect())
    }

    fn all_is_given_back(&self) -> Invariant {
        let says = "things not given back once clients had left, and panics";
        match &self.left {
            None => Invariant::not_applicable("I8", says, "the drill ended before its clients had left"),
            Some(left) => counted("I8", says, left.clone()),
        }
    }

    fn the_untouched_notices_nothing(&self) -> Invariant {
        let errors = self.history.of(&[Ask::Calm]).filter(|asked| !asked.is_good());
        counted("I9", "errors of a tenant that the fault does not touch", errors.map(Asked::kind).collect())
    }

    fn it_can_be_seen(&self) -> Invariant {
        let unseen =
            self.sights.iter().filter(|(_, seen)| !seen).map(|(what, _)| format!("not seen: {what}"));
        counted("I10", "signs that were to be seen by an operator, and were not", unseen.collect())
    }

    fn writes(&self) -> impl Iterator<Item = &Asked> {
        self.history.of(&[Ask::Write, Ask::Bound])
    }
}

fn counted(id: &'static str, says: &'static str, wrong: Vec<String>) -> Invariant {
    Invariant::counted(id, says, wrong)
}

#[cfg(test)]
mod tests {
    use super::super::history::tests::{asked, good, ms, refused};
    use super::*;

    /// Acme moved from eu at epoch 1 to us at epoch 2, and one write was acknowledged at each.
    fn sound() -> Facts {
        let owners = [((1), "eu"), ((2), "us")];
        let owners = owners.map(|(epoch, region)| (("acme".to_owned(), epoch), region.to_owned()));
        let began = Instant::now();
        Facts {
            history: History(vec![
                asked(Ask::Write, 1, 0, good("eu", None)),
                asked(Ask::Write, 2, 10, good("us", None)),
                asked(Ask::Strong, 2, 20, good("us", Some(2))),
                asked(Ask::Session, 2, 25, good("us", Some(2))),
                asked(Ask::Calm, 1, 30, good("ap", None)),
            ]),
            executed: vec![executed("k-1", "eu", 1, began), executed("k-2", "us", 2, began + ms(10))],
            owners: owners.into(),
            deadline: ms(1_000),
            left: Some(Vec::new()),
            ..Facts::default()
        }
    }

    fn executed(id: &str, region: &str, epoch: u64, at: Instant) -> Executed {
        let (id, tenant) = (id.to_owned(), "acme".to_owned());
        Executed { id, tenant, region: region.into(), owner: Some(region.into()), epoch: Some(epoch), at }
    }

    /// The violations of each invariant that has any.
    fn broken(facts: &Facts) -> Vec<(&'static str, u64)> {
        let all = facts.judge().into_iter();
        all.filter_map(|one| Some((one.id, one.violations.filter(|count| *count > 0)?))).collect()
    }

    #[test]
    fn a_sound_log_has_no_violation_and_says_what_did_not_apply() {
        let judged = sound().judge();
        let ids: Vec<_> = judged.iter().map(|one| one.id).collect();
        assert_eq!(ids, ["I1", "I2", "I3", "I4", "I5", "I6", "I7", "I8", "I9", "I10"]);
        assert_eq!(broken(&sound()), []);
        let not: Vec<_> = judged.iter().filter(|one| one.violations.is_none()).map(|one| one.id).collect();
        assert_eq!(not, ["I6"], "nothing had to recover");
    }

    #[test]
    fn a_write_that_was_executed_twice_is_a_violation() {
        let mut facts = sound();
        let again = executed("k-2", "us", 2, facts.executed[1].at + ms(1));
        facts.executed.push(again);
        assert_eq!(broken(&facts), [("I3", 1)]);
    }

    #[test]
    fn an_acknowledged_write_that_nobody_executed_is_a_violation_and_an_unacknowledged_one_is_not() {
        let mut facts = sound();
        facts.history.0.push(asked(Ask::Bound, 9, 40, refused(504, "deadline")));
        facts.excused.push(Excuse { asks: &[Ask::Bound], from: ms(0), until: ms(50) });
        assert_eq!(broken(&facts), []);
        facts.history.0.push(asked(Ask::Bound, 10, 50, good("eu", None)));
        assert_eq!(broken(&facts), [("I3", 1)]);
    }

    #[test]
    fn a_write_at_a_region_that_does_not_own_is_a_violation() {
        let mut facts = sound();
        facts.executed[1].region = "ap".into();
        assert_eq!(broken(&facts), [("I1", 1)], "by what the edge told the region");
        facts.executed[1].owner = Some("ap".into());
        assert_eq!(broken(&facts), [("I1", 1)], "by who owned at that epoch");
        facts.executed[1] = executed("k-2", "us", 3, facts.executed[1].at);
        assert_eq!(broken(&facts), [("I1", 1)], "by an epoch that nobody gave");
        facts.executed[1].epoch = None;
        assert_eq!(broken(&facts), [("I1", 1)], "by no epoch at all");
    }

    #[test]
    fn a_write_of_the_old_owner_after_the_new_one_began_is_a_violation() {
        let mut facts = sound();
        let late = executed("k-0", "eu", 1, facts.executed[1].at + ms(1));
        facts.executed.push(late);
        assert_eq!(broken(&facts), [("I1", 1)]);
    }

    #[test]
    fn a_stale_read_is_a_violation_where_it_was_strong_or_pinned() {
        let mut facts = sound();
        facts.history.0.push(asked(Ask::Strong, 2, 40, good("us", Some(1))));
        facts.history.0.push(asked(Ask::Session, 2, 45, good("us", None)));
        facts.history.0.push(asked(Ask::Local, 2, 50, good("us", Some(1))));
        assert_eq!(broken(&facts), [("I4", 2)], "a local read may be old");
        // One that says that it is old is what its client was promised.
        let said = Came::Answer { status: 200, reason: None, region: None, value: Some(0), degraded: true };
        facts.history.0.push(asked(Ask::Session, 2, 55, said));
        assert_eq!(broken(&facts), [("I4", 2)]);
    }

    #[test]
    fn what_an_unplanned_failover_may_lose_need_not_be_read_and_what_was_before_it_has_to_be() {
        let mut facts = sound();
        facts.lost.insert("k-2".into());
        facts.history.0.push(asked(Ask::Strong, 2, 40, good("us", Some(1))));
        assert_eq!(broken(&facts), []);
        facts.history.0.push(asked(Ask::Strong, 2, 50, good("us", None)));
        assert_eq!(broken(&facts), [("I4", 1)]);
    }

    #[test]
    fn an_error_counts_unless_it_is_of_the_kind_and_the_time_that_was_said() {
        let mut facts = sound();
        facts.excused.push(Excuse { asks: &[Ask::Write], from: ms(100), until: ms(200) });
        facts.history.0.push(asked(Ask::Write, 3, 150, refused(503, "owner_unavailable")));
        facts.history.0.push(asked(Ask::Write, 4, 200, refused(503, "owner_unavailable")));
        assert_eq!(broken(&facts), []);
        facts.history.0.push(asked(Ask::Local, 3, 150, refused(503, "no_region")));
        facts.history.0.push(asked(Ask::Write, 5, 201, refused(503, "owner_unavailable")));
        facts.history.0.push(asked(Ask::Write, 6, 50, Came::Nothing("reset".into())));
        assert_eq!(broken(&facts), [("I5", 3)]);
    }

    #[test]
    fn the_rest_is_counted_too() {
        let mut facts = sound();
        facts.strays.push("us".into());
        facts.recovery.push(Recovery { what: "writes".into(), seconds: Some(0.5) });
        facts.recovery.push(Recovery { what: "reads".into(), seconds: None });
        let slow = Asked { ended: ms(2_100), ..asked(Ask::Local, 1, 99, good("eu", None)) };
        facts.history.0.push(slow);
        facts.history.0.push(asked(Ask::Calm, 1, 40, refused(503, "no_region")));
        facts.left = Some(vec!["2 writes are still held".into()]);
        facts.sights = vec![("an entry".into(), true), ("a metric".into(), false)];
        let all = [("I2", 1), ("I6", 1), ("I7", 1), ("I8", 1), ("I9", 1), ("I10", 1)];
        assert_eq!(broken(&facts), all);
    }
}
