//! One drill under way in the lab: what was done, what was seen, and what it is judged by at its end.
//!
//! Never: leaves anything broken, whichever way it ends; and waits for nothing without a bound.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::checks::{Excuse, Facts};
use super::clients::Load;
use super::drills::{Drill, Stage};
use super::fleet::Fleet;
use super::history::{Ask, History};
use super::report::{DrillReport, Recovery, Step, Verdict};
use super::sight::{self, Metrics};
use super::world::{DEADLINE, Tenants, World};
use crate::cli::edge::{Edge as Admin, segment};
use crate::cli::failure::Failure;
use crate::cli::wire::{at, text};
use crate::control::clock::Clock;

/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(25);
/// So many good answers in a row are well again.
const RUN: usize = 20;
/// How long a mended lab may take to be whole, and clients' things to be given back.
const AFTERWARDS: Duration = Duration::from_secs(15);
/// Files that are kept between requests: connections of the edge to its regions, at both ends.
const KEPT_FILES: usize = 64;

/// Why a drill does not go on.
#[derive(Debug)]
pub enum Trouble {
    /// Something did not come about in time, or came otherwise.
    Otherwise(String),
    /// Somebody ended the game day.
    Stopped,
    /// The edge or the lab is not there any more.
    Failed(Failure),
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// What every step of a drill returns.
pub type Went<T = ()> = Result<T, Trouble>;

/// One drill under way.
pub struct Attempt<'w> {
    /// Where.
    pub world: &'w World,
    /// The edges and gateways of this drill alone, where it has any: clients are divided between the two edges.
    pub fleet: Option<Fleet>,
    /// Whose requests.
    pub tenants: Tenants,
    /// The metrics when it began.
    pub before: Metrics,
    /// The newest entry of the audit then.
    pub audit: u64,
    clock: Clock,
    bound: Duration,
    load: Option<Load>,
    steps: Vec<Step>,
    observed: Vec<String>,
    facts: Facts,
    holds: Vec<(Duration, Duration)>,
    files: usize,
}

impl<'w> Attempt<'w> {
    /// Runs `drill` in `world`, for at most `bound`, and reports how it went.
    pub fn run(world: &'w World, drill: &Drill, bound: Duration) -> Result<DrillReport, Failure> {
        let tenants = Tenants::of(drill.name);
        let fleet = match drill.stage {
            Stage::OneEdge => None,
            Stage::TwoEdges => Some(Fleet::start(world, &tenants, drill.tenant)?),
        };
        let mut attempt = Self {
            world,
            fleet,
            tenants,
            before: Metrics::default(),
            audit: 0,
            clock: Clock::system(),
            bound,
            load: None,
            steps: Vec::new(),
            observed: Vec::new(),
            facts: Facts { deadline: DEADLINE, ..Facts::default() },
            holds: Vec::new(),
            files: open_files(),
        };
        let went = attempt.warm_up().and_then(|()| (drill.run)(&mut attempt));
        attempt.finish(drill, went)
    }

    /// Clients begin, and each is answered.
    fn warm_up(&mut self) -> Went {
        self.before = Metrics::of(self.admin())?;
        self.audit = sight::newest(self.admin())?;
        for tenant in self.tenants.clone().all() {
            self.owner_of(tenant)?;
        }
        let edges = match &self.fleet {
            None => vec![self.world.address],
            Some(fleet) => vec![fleet.first.address, fleet.second.address],
        };
        self.load = Some(Load::begin(self.world.handle(), &edges, &self.clock, &self.tenants));
        self.until("every kind of request is answered", |attempt| {
            let kinds = [Ask::Write, Ask::Local, Ask::Session, Ask::Strong, Ask::Bound, Ask::Calm];
            Ok(kinds.iter().all(|ask| attempt.good(&[*ask]) > 0))
        })?;
        self.go_on(RUN)
    }

    /// The edge whose ownership moves, as an operator sees it.
    pub fn admin(&self) -> &Admin {
        self.fleet.as_ref().map_or(&self.world.admin, |fleet| &fleet.first.admin)
    }

    /// Since the drill began.
    pub fn now(&self) -> Duration {
        self.clock.elapsed()
    }

    /// Writes down that something is done now; returns when that is.
    pub fn step(&mut self, what: impl Into<String>) -> Duration {
        let now = self.now();
        self.steps.push(Step { at: hundredths(now), what: what.into() });
        now
    }

    /// Writes down what was seen.
    pub fn observe(&mut self, what: impl Into<String>) {
        self.observed.push(what.into());
    }

    /// Something that an operator was to see of it.
    pub fn sight(&mut self, what: &str, seen: bool) {
        self.facts.sights.push((what.to_owned(), seen));
    }

    /// Errors of `asks` are what the drill is about, from `from` until `until`.
    pub fn excuse(&mut self, asks: &'static [Ask], from: Duration, until: Duration) {
        self.facts.excused.push(Excuse { asks, from, until });
    }

    /// Writes that the region that is gone had acknowledged, and the one that takes over does not have.
    pub fn may_be_lost(&mut self, gone: &str, heir: &str) -> Result<usize, Failure> {
        let reached = self.world.region(heir)?.replicated(gone).unwrap_or(0);
        let executed = self.world.region(gone)?.executions().into_iter();
        let main = self.tenants.main.clone();
        let lost = executed.filter(|done| done.position > reached && done.tenant.as_ref() == Some(&main));
        let before = self.facts.lost.len();
        self.facts.lost.extend(lost.filter_map(|done| done.id));
        Ok(self.facts.lost.len() - before)
    }

    /// What clients have asked so far.
    pub fn so_far<T: Default>(&self, look: impl FnOnce(&History) -> T) -> T {
        self.load.as_ref().map(|load| load.so_far(look)).unwrap_or_default()
    }

    fn good(&self, asks: &[Ask]) -> usize {
        self.load.as_ref().map_or(0, |load| load.good(asks))
    }

    /// Waits until so many more writes of the tenant under test have been answered well.
    pub fn go_on(&mut self, writes: usize) -> Went {
        let until = self.good(&[Ask::Write]) + writes;
        self.until("writes go on", |attempt| Ok(attempt.good(&[Ask::Write]) >= until)).map(drop)
    }

    /// Lets so much time pass under load.
    pub fn pause(&mut self, span: Duration) -> Went {
        let until = self.now() + span;
        self.until("time goes by", |attempt| Ok(attempt.now() >= until)).map(drop)
    }

    /// Waits until `holds`; returns when that was.
    ///
    /// Errors: it did not come about within the time of the drill, or the game day was ended.
    pub fn until(&mut self, what: &str, mut holds: impl FnMut(&mut Self) -> Went<bool>) -> Went<Duration> {
        while !holds(self)? {
            if self.now() > self.bound {
                let seconds = self.bound.as_secs();
                return Err(Trouble::Otherwise(format!(
                    "within {seconds} s this did not come about: {what}"
                )));
            }
            if self.world.stop.within(LOOK) {
                return Err(Trouble::Stopped);
            }
        }
        Ok(self.now())
    }

    /// Waits until those of `asks` that began at `from` or later are well again, and writes down how long it took since
    /// `since`. Until then their errors from `failing` on are what the drill is about.
    pub fn recovers(
        &mut self,
        what: &str,
        asks: &'static [Ask],
        (since, failing): (Duration, Option<Duration>),
    ) -> Went<Duration> {
        let from = failing.unwrap_or(since);
        let recovered = |attempt: &Self| attempt.so_far(|history| history.recovered(asks, since, RUN));
        let waited = self.until(what, |attempt| Ok(recovered(attempt).is_some()));
        let well = recovered(self);
        let seconds = well.map(|well| hundredths(well.saturating_sub(since)));
        self.facts.recovery.push(Recovery { what: what.to_owned(), seconds });
        if failing.is_some() {
            self.excuse(asks, from, well.unwrap_or_else(|| self.now()));
        }
        waited?;
        Ok(well.unwrap_or_default())
    }

    /// Waits until the edge says that a region is in this state.
    pub fn until_health(&mut self, region: &str, health: &str) -> Went<Duration> {
        self.until(&format!("{region} is seen as {health}"), |attempt| Ok(attempt.health(region)? == health))
    }

    /// What the edge says of a region.
    pub fn health(&self, region: &str) -> Result<String, Failure> {
        Ok(text(&self.admin().read(&format!("/v1/regions/{}", segment(region)))?, &["health"]))
    }

    /// Who owns the tenant under test, at which epoch, and in which state; it is kept as what is true.
    pub fn owner(&mut self) -> Result<(String, u64, String), Failure> {
        let main = self.tenants.main.clone();
        self.owner_of(&main)
    }

    /// The same, as the edge says that nobody tells.
    pub fn owner_by_second(&mut self) -> Result<(String, u64, String), Failure> {
        let Some(fleet) = &self.fleet else { return self.owner() };
        let main = self.tenants.main.clone();
        let said = ownership(&fleet.second.admin, &main)?;
        self.is_true(&main, &said);
        Ok(said)
    }

    fn owner_of(&mut self, tenant: &str) -> Result<(String, u64, String), Failure> {
        let said = ownership(self.admin(), tenant)?;
        self.is_true(tenant, &said);
        Ok(said)
    }

    fn is_true(&mut self, tenant: &str, (owner, epoch, state): &(String, u64, String)) {
        // The first that was said stays: nobody else may own at that epoch. Who doubts says nothing.
        if state != "split-brain" {
            self.facts.owners.entry((tenant.to_owned(), *epoch)).or_insert_with(|| owner.clone());
        }
    }

    /// Asks the edge to do something, as an operator.
    pub fn ask(&self, path: &str, mut body: Value) -> Result<Value, Failure> {
        body["reason"] = json!("a drill");
        self.admin().ask(path, &body)
    }

    /// Asks for something that is to be refused; returns why it was.
    pub fn refused(&self, what: &str, path: &str, body: Value) -> Went<String> {
        match self.ask(path, body) {
            Ok(_) => Err(Trouble::Otherwise(format!("{what} was not refused"))),
            Err(Failure::Failed(why) | Failure::Usage(why)) => Ok(why),
            Err(other) => Err(other.into()),
        }
    }

    /// Moves ownership, and waits until that is over; returns the transfer.
    pub fn transfer(&mut self, body: Value) -> Went<Value> {
        let began = self.now();
        let id = text(&self.ask("/v1/transfers", body)?, &["id"]);
        let mut transfer = Value::Null;
        self.until("the transfer is over", |attempt| {
            transfer = attempt.admin().read(&format!("/v1/transfers/{id}"))?;
            // Waves raise an epoch each; every one is what is true.
            attempt.owner()?;
            Ok(matches!(text(&transfer, &["state"]).as_str(), "done" | "failed" | "cancelled"))
        })?;
        self.holds.push((began, self.now()));
        match text(&transfer, &["state"]).as_str() {
            "done" => Ok(transfer),
            state => Err(Trouble::Otherwise(format!(
                "the transfer {} is {state}: {}",
                text(&transfer, &["what"]),
                text(&transfer, &["trouble"])
            ))),
        }
    }

    /// The entries of the audit since the drill began that tell of this.
    pub fn told(&self, action: &str) -> Result<Vec<Value>, Failure> {
        sight::entries(self.admin(), self.audit, action)
    }

    /// What a metric says now.
    pub fn metric(&self, name: &str, labels: &[(&str, &str)]) -> Result<f64, Failure> {
        Ok(Metrics::of(self.admin())?.sum(name, labels))
    }

    /// By how much a metric has grown since the drill began.
    pub fn grown(&self, name: &str, labels: &[(&str, &str)]) -> Result<f64, Failure> {
        Ok(Metrics::of(self.admin())?.grown(&self.before, name, labels))
    }

    /// Mends the lab, lets clients leave, looks at what they left, and judges.
    fn finish(mut self, drill: &Drill, went: Went) -> Result<DrillReport, Failure> {
        let world = self.world;
        world.mend()?;
        if world.stop.within(Duration::ZERO) {
            // The edge is on its way out, so whatever clients see from here on is not the drill's.
            self.load = None;
            let what = "the game day was ended before this drill was over; it is not judged";
            let mut report = DrillReport::unjudged(drill.name, drill.hypothesis, what, Verdict::Stopped);
            report.steps = self.steps;
            report.observed.splice(0..0, self.observed);
            return Ok(report);
        }
        if let Some(load) = self.load.take() {
            self.facts.history = world.wait(load.end());
            self.facts.left = Some(self.left()?);
        }
        self.facts.executed = world.executed(&self.tenants);
        let elsewhere = world.regions().iter().filter(|region| region.name() != super::world::EU);
        let strays = elsewhere.filter(|region| region.tenants_seen().contains(&self.tenants.bound));
        self.facts.strays =
            strays.map(|region| format!("{} saw {}", region.name(), self.tenants.bound)).collect();
        let held = Metrics::of(self.admin())?.grown(&self.before, "rhumb_hold_seconds_count", &[]);
        let history = &self.facts.history;
        if let Some(p99) = history.percentile(&[Ask::Calm], 99) {
            self.observed
                .push(format!("the untouched tenant's p99 was {:.0} ms", p99.as_secs_f64() * 1_000.0));
        }
        let mut verdict = Verdict::Passed;
        match went {
            Ok(()) => {}
            Err(Trouble::Stopped) => verdict = Verdict::Stopped,
            Err(Trouble::Otherwise(what)) => {
                self.observed.push(what);
                verdict = Verdict::Failed;
            }
            Err(Trouble::Failed(failure)) => {
                self.observed.push(failure.to_string());
                verdict = Verdict::Failed;
            }
        }
        let mut report = DrillReport {
            name: drill.name.to_owned(),
            hypothesis: drill.hypothesis.to_owned(),
            requests: self.facts.history.0.len() as u64,
            errors: self.facts.history.errors(),
            held_writes: held.max(0.0) as u64,
            longest_hold_seconds: (held > 0.0).then(|| self.longest_hold()).flatten(),
            invariants: self.facts.judge(),
            steps: self.steps,
            observed: self.observed,
            recovery: self.facts.recovery,
            seconds: 0.0,
            verdict,
        };
        if report.violations() > 0 && report.verdict == Verdict::Passed {
            report.verdict = Verdict::Failed;
        }
        if report.verdict != Verdict::Stopped
            && let Err(failure) = whole(world)
        {
            report.observed.push(failure.to_string());
            report.verdict = Verdict::Failed;
        }
        report.seconds = hundredths(self.clock.elapsed());
        Ok(report)
    }

    /// The longest write that was under way while writes were held.
    fn longest_hold(&self) -> Option<f64> {
        let holds = |began, ended| self.holds.iter().any(|(from, until)| began <= *until && ended >= *from);
        let writes = self.facts.history.of(&[Ask::Write]).filter(|asked| holds(asked.began, asked.ended));
        writes.map(|asked| asked.took()).max().map(hundredths)
    }

    /// What is not given back now that clients have left.
    fn left(&self) -> Result<Vec<String>, Failure> {
        let (until, admin) = (self.now() + AFTERWARDS, self.admin());
        loop {
            let (metrics, files) = (Metrics::of(admin)?, open_files());
            let mut left = Vec::new();
            let gauges =
                ["rhumb_held_writes", "rhumb_in_flight", "rhumb_connections", "rhumb_buffered_bytes"];
            let all = gauges.map(|name| (name, metrics.sum(name, &[])));
            left.extend(
                all.iter().filter(|(_, now)| *now > 0.0).map(|(name, now)| format!("{name} is {now}")),
            );
            if files > self.files + KEPT_FILES {
                left.push(format!("{files} open files, {} before", self.files));
            }
            if left.is_empty() || self.now() > until || self.world.stop.within(LOOK) {
                let panics = metrics.grown(&self.before, "rhumb_panics_total", &[]);
                left.extend((panics > 0.0).then(|| format!("{panics} panics")));
                return Ok(left);
            }
        }
    }
}

/// Who owns a tenant, at which epoch, and in which state, as this edge has it.
fn ownership(admin: &Admin, tenant: &str) -> Result<(String, u64, String), Failure> {
    let said = admin.read(&format!("/v1/tenants/{}", segment(tenant)))?;
    let epoch = at(&said, &["epoch"]).as_u64().unwrap_or(0);
    Ok((text(&said, &["owner"]), epoch, text(&said, &["state"])))
}

/// Waits until the edge sees every region as it should be.
pub fn whole(world: &World) -> Result<(), Failure> {
    let clock = Clock::system();
    loop {
        let regions = world.admin.read("/v1/regions")?;
        let all = regions.as_array().map_or(&[][..], Vec::as_slice);
        if !all.is_empty() && all.iter().all(|region| text(region, &["health"]) == "UP") {
            return Ok(());
        }
        if clock.elapsed() > AFTERWARDS {
            let down: BTreeMap<_, _> =
                all.iter().map(|one| (text(one, &["region"]), text(one, &["health"]))).collect();
            return Err(Failure::Failed(format!("the lab is not whole: {down:?}")));
        }
        if world.stop.within(LOOK) {
            return Ok(());
        }
    }
}

/// Files that this process has open; 0 where the system does not say.
fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

fn hundredths(span: Duration) -> f64 {
    (span.as_secs_f64() * 100.0).round() / 100.0
}
