//! The one loop that writes: it takes one change at a time, makes the next snapshot, and publishes it.
//!
//! Never: blocks. Files are read, and tables compared, on a thread of their own while health goes on.

mod announce;
mod own;
mod standing;

use std::collections::VecDeque;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rhumb_decision::Snapshot;
use rhumb_decision::compare::Difference;
use rhumb_decision::table::Table;
use rhumb_decision::units::{Generation, Millis};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

use crate::control::aside::done_aside;
use crate::control::clock::Clock;
use crate::control::desk::Desk;
use crate::control::desk::office::{self, Office};
use crate::control::events::Events;
use crate::control::first::First;
use crate::control::hold::Held;
use crate::control::kept::Kept;
use crate::control::operator::{Asked, Asker, Command, OperatorError, TableReport};
use crate::control::outcome::Outcome;
use crate::control::prober::{Seen, Target};
use crate::control::reload::{self, Judged, Wanted};
use crate::control::resolver::{Name, Resolved};
use crate::control::roster::{Changed, Roster, WARM_UP};
use crate::control::snapshot::{Current, Operators, Origin, Publisher, Reader, Rejected, channel};
use crate::control::traffic::{Meter, Traffic};
use crate::telemetry::Recorder;
use announce::show;

/// How often time-driven changes are looked at.
const TICK: Duration = Duration::from_millis(250);

/// The longest that listeners wait for the first round of checks.
const FIRST_ROUND: Millis = Millis(5_000);

/// What the steward is told.
pub struct Inputs {
    /// By the prober.
    pub seen: mpsc::Receiver<Seen>,
    /// By the resolver.
    pub resolved: mpsc::Receiver<Resolved>,
    /// By requests.
    pub outcomes: mpsc::Receiver<Outcome>,
    /// By operators, of the table.
    pub asked: mpsc::Receiver<Asked>,
    /// By operators, of weights and drains.
    pub orders: mpsc::Receiver<office::Asked>,
    /// By SIGHUP.
    pub hangups: mpsc::Receiver<()>,
    /// By the watch on files.
    pub files: mpsc::Receiver<()>,
    /// By whoever hands the state folder to another process.
    pub held: Held,
}

/// Whom the steward tells, besides the readers of snapshots.
pub struct Outputs {
    /// What the prober is to ask.
    pub targets: watch::Sender<Arc<[Target]>>,
    /// What the resolver is to look up.
    pub names: watch::Sender<Arc<[Name]>>,
    /// The files to watch.
    pub files: watch::Sender<Arc<[PathBuf]>>,
    /// Whether the first round of checks is over, or was waited for long enough.
    pub checked: watch::Sender<bool>,
    /// What regions get.
    pub traffic: watch::Sender<Arc<Traffic>>,
    /// Those who listen.
    pub events: Events,
}

/// What the steward needs to know of the process.
pub struct Charge {
    /// The table's file.
    pub path: PathBuf,
    /// Whether its files are watched.
    pub watch: bool,
    /// Percent of tenants that a new table may move without being accepted.
    pub max_moved: f64,
    /// The region in which the edge stands.
    pub edge_region: String,
    /// How long lags, positions and round trips may wait to be published; each publication is a generation.
    pub figures: Millis,
    /// The tables kept.
    pub kept: Kept,
    /// The time.
    pub clock: Clock,
    /// Where changes are counted.
    pub recorder: Recorder,
}

/// The one writer.
pub struct Steward {
    charge: Arc<Charge>,
    publisher: Publisher,
    reader: Reader,
    roster: Roster,
    outputs: Outputs,
    office: Office,
    meter: Meter,
    queue: VecDeque<Errand>,
    reading: Option<(Errand, JoinHandle<Judged>)>,
    coming: Option<Coming>,
    unpublished: Changed,
    published: Millis,
    began: Millis,
    checked: bool,
}

/// A reading of the files, and who wants to know what came of it.
struct Errand {
    wanted: Wanted,
    asker: Option<Asker>,
    replies: Vec<Reply>,
}

/// Where the answer to a command goes.
type Reply = oneshot::Sender<Result<TableReport, OperatorError>>;

/// A table that is to be in force as soon as the endpoints that it brings have been checked: until then nobody would
/// take its requests.
struct Coming {
    table: Arc<Table>,
    origin: Origin,
    difference: Difference,
    errand: Errand,
    since: Millis,
}

impl Steward {
    /// A steward with the first table in force, and a reader of what it publishes.
    #[must_use]
    pub fn new(charge: Charge, first: First, desk: Desk, outputs: Outputs) -> (Self, Reader) {
        let mut roster = Roster::default();
        roster.follow(std::slice::from_ref(&first.table));
        let office = Office::new(desk);
        let current = compose(&roster, &office, first.table, Generation(1), Arc::new(first.origin));
        show(&charge.recorder, &current);
        charge.recorder.table_reload("taken");
        let (publisher, reader) = channel(current);
        let steward = Self {
            began: charge.clock.now(),
            charge: Arc::new(charge),
            publisher,
            reader: reader.clone(),
            roster,
            outputs,
            office,
            meter: Meter::default(),
            queue: VecDeque::new(),
            reading: None,
            coming: None,
            unpublished: Changed::Nothing,
            published: Millis(0),
            checked: false,
        };
        steward.tell_seekers();
        steward.watch(first.files);
        (steward, reader)
    }

    /// Takes changes until `stop` is done.
    pub async fn run(mut self, mut inputs: Inputs, stop: impl Future<Output = ()> + Send) {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut stop = std::pin::pin!(stop);
        self.announce_disputes();
        loop {
            if !inputs.held.is_wanted() {
                self.read_if_wanted();
                self.write_if_wanted();
            }
            let idle = self.reading.is_none() && self.office.is_idle();
            inputs.held.tell(inputs.held.is_wanted() && idle);
            tokio::select! {
                () = &mut stop => return,
                () = inputs.held.changed() => self.held(inputs.held.is_wanted()),
                Some(asked) = inputs.asked.recv() => match inputs.held.is_wanted() {
                    true => refuse_for_now(asked.reply),
                    false => self.asked(asked),
                },
                Some(asked) = inputs.orders.recv() => match inputs.held.is_wanted() {
                    true => asked.refuse(FOR_NOW),
                    false => self.office.ask(asked),
                },
                came = self.office.came() => self.dealt_with(came),
                judged = reading(&mut self.reading) => self.judged(judged),
                Some(()) = inputs.hangups.recv() => self.want(Wanted::Reload, None, None),
                Some(()) = inputs.files.recv() => self.want(Wanted::Reload, None, None),
                Some(resolved) = inputs.resolved.recv() => self.resolved(resolved),
                Some(outcome) = inputs.outcomes.recv() => {
                    let tables = self.tables();
                    let changed = self.roster.told(&tables, &outcome, self.charge.clock.now());
                    self.changed(changed);
                }
                Some(seen) = inputs.seen.recv() => {
                    let tables = self.tables();
                    let mut changed = self.roster.probed(&tables, &seen);
                    while let Ok(seen) = inputs.seen.try_recv() {
                        changed = changed.max(self.roster.probed(&tables, &seen));
                    }
                    self.changed(changed);
                    self.welcome_if_known();
                    self.tell_if_checked();
                }
                _ = ticks.tick() => self.tick(),
            }
        }
    }

    fn table(&self) -> Arc<Table> {
        Arc::clone(self.reader.current().table())
    }

    fn tables(&self) -> Vec<Arc<Table>> {
        let coming = self.coming.iter().map(|coming| Arc::clone(&coming.table));
        coming.chain([self.table()]).collect()
    }

    /// While another process has the state folder, nobody is kept waiting; after that, the files are looked at anew.
    fn held(&mut self, held: bool) {
        if held {
            let (asked, rest) = self.queue.drain(..).partition(|errand: &Errand| !errand.replies.is_empty());
            self.queue = rest;
            let asked: VecDeque<Errand> = asked;
            asked.into_iter().flat_map(|errand| errand.replies).for_each(refuse_for_now);
            self.office.turn_away(FOR_NOW);
        } else if self.charge.watch {
            self.want(Wanted::Reload, None, None);
        }
    }

    fn asked(&mut self, Asked { command, reply }: Asked) {
        match command {
            Command::Reload(asker) => self.want(Wanted::Reload, Some(asker), Some(reply)),
            Command::Diff => self.want(Wanted::Diff, None, Some(reply)),
            Command::DiffBack => self.want(Wanted::DiffBack, None, Some(reply)),
            Command::Accept(hash, asker) => self.want(Wanted::Accept(hash), Some(asker), Some(reply)),
            Command::Rollback(asker) => self.want(Wanted::Rollback, Some(asker), Some(reply)),
        }
    }

    fn read_if_wanted(&mut self) {
        if self.reading.is_some() || self.coming.is_some() {
            return;
        }
        if let Some(errand) = self.queue.pop_front() {
            let (charge, current, wanted) =
                (Arc::clone(&self.charge), self.reader.current(), errand.wanted.clone());
            let job = tokio::task::spawn_blocking(move || {
                done_aside(|| reload::judged(&charge, &current, &wanted)).unwrap_or_else(|e| {
                    Judged::Impossible(format!("there is no thread to read the table: {e}"))
                })
            });
            self.reading = Some((errand, job));
        }
    }

    fn judged(&mut self, (errand, judged): (Errand, Judged)) {
        let current = self.reader.current();
        let (outcome, answer) = match judged {
            Judged::Taken { table, origin, files, difference } => {
                if let Some(files) = files {
                    self.watch(files);
                }
                let since = self.charge.clock.now();
                self.coming = Some(Coming { table, origin, difference, errand, since });
                self.look_after();
                return self.welcome_if_known();
            }
            Judged::Unchanged { hash, tenants, difference, files, rejected } => {
                let generation = current.generation().0;
                if let Some(files) = files {
                    self.watch(files);
                }
                if errand.wanted.changes() {
                    self.note(rejected);
                }
                ("unchanged", Ok(TableReport { generation, hash, tenants, taken: false, difference }))
            }
            Judged::Refused { rejected, files } => {
                if let Some(files) = files {
                    self.watch(files);
                }
                let rejected = Arc::new(rejected);
                if matches!(errand.wanted, Wanted::Reload | Wanted::Accept(_)) {
                    let generation = current.generation().0;
                    tracing::warn!(
                        "table refused, generation {generation} stays in force\n{}",
                        rejected.problems
                    );
                    if current.origin.rejected.as_ref().is_none_or(|known| known.hash != rejected.hash) {
                        self.announce_refused(&rejected, errand.asker.as_ref());
                    }
                    self.note(Some(Arc::clone(&rejected)));
                }
                ("refused", Err(OperatorError::Refused(rejected)))
            }
            Judged::Impossible(why) => ("refused", Err(OperatorError::Impossible(why))),
        };
        self.answer(errand, outcome, answer);
    }

    /// Puts the table that is coming in force, once its endpoints are known or have been waited for.
    fn welcome_if_known(&mut self) {
        let now = self.charge.clock.now();
        if !self.office.is_idle() {
            return; // an order is judged by the table in force
        }
        let known =
            |coming: &mut Coming| now.since(coming.since) >= WARM_UP || self.roster.knows(&coming.table);
        let Some(Coming { table, origin, difference, errand, .. }) = self.coming.take_if(known) else {
            return;
        };
        let report = TableReport {
            generation: self.reader.current().generation().0 + 1,
            hash: origin.hash.clone(),
            tenants: table.tenants().len(),
            taken: true,
            difference,
        };
        self.office.table_changed();
        self.publish(table, Arc::new(origin));
        self.look_after();
        let outcome = errand.wanted.outcome();
        self.announce_table(outcome, &report, errand.asker.as_ref());
        self.answer(errand, outcome, Ok(report));
    }

    fn answer(&self, errand: Errand, outcome: &'static str, answer: Result<TableReport, OperatorError>) {
        if errand.wanted.changes() {
            self.charge.recorder.table_reload(outcome);
        }
        if let (Some(Asker { actor, source, reason }), Ok(report)) = (&errand.asker, &answer) {
            tracing::warn!(
                actor,
                %source,
                reason,
                hash = report.hash,
                generation = report.generation,
                "table {outcome}"
            );
        }
        for reply in errand.replies {
            // Whoever asked may have gone; what was done stays done.
            let _ = reply.send(answer.clone());
        }
    }

    fn watch(&self, files: Vec<PathBuf>) {
        if self.charge.watch {
            self.outputs.files.send_if_modified(|watched| {
                let other = watched[..] != files[..];
                if other {
                    *watched = files.into();
                }
                other
            });
        }
    }

    /// Shows what was refused, or that nothing is any more.
    fn note(&mut self, rejected: Option<Arc<Rejected>>) {
        let current = self.reader.current();
        if current.origin.rejected.is_none() && rejected.is_none() {
            return;
        }
        let origin = Origin { rejected, ..Origin::clone(&current.origin) };
        self.publish(Arc::clone(current.table()), Arc::new(origin));
    }

    fn resolved(&mut self, resolved: Resolved) {
        let now = self.charge.clock.now();
        self.roster.resolved(&self.tables(), resolved, now);
        self.charge.recorder.names_failing(self.roster.failing());
        self.changed(Changed::Standing);
        self.tell_seekers();
        self.welcome_if_known();
        self.tell_if_checked();
    }

    fn tick(&mut self) {
        let now = self.charge.clock.now();
        let changed = self.roster.tick(&self.tables(), now);
        self.changed(changed);
        if changed == Changed::Standing {
            self.tell_seekers();
        }
        self.measure();
        self.let_time_pass();
        self.welcome_if_known();
        self.tell_if_checked();
        self.let_go();
        let current = self.reader.current();
        self.charge.recorder.table_age(now.since(current.origin.loaded_on).duration());
    }

    fn changed(&mut self, changed: Changed) {
        self.unpublished = self.unpublished.max(changed);
        let waited = self.charge.clock.now().since(self.published);
        let is_due = match self.unpublished {
            Changed::Nothing => false,
            Changed::Figures => self.awaits_reports() || waited >= self.charge.figures,
            Changed::Standing => true,
        };
        if is_due {
            self.publish_again();
        }
    }

    fn publish_again(&mut self) {
        let current = self.reader.current();
        self.publish(Arc::clone(current.table()), Arc::clone(&current.origin));
    }

    fn publish(&mut self, table: Arc<Table>, origin: Arc<Origin>) {
        let before = self.reader.current();
        let generation = Generation(before.generation().0 + 1);
        let current = compose(&self.roster, &self.office, table, generation, origin);
        show(&self.charge.recorder, &current);
        self.publisher.publish(current);
        self.announce_health(&before);
        self.unpublished = Changed::Nothing;
        self.published = self.charge.clock.now();
    }

    /// Looks after what the tables name, and after nothing else.
    fn look_after(&mut self) {
        self.roster.follow(&self.tables());
        self.charge.recorder.names_failing(self.roster.failing());
        self.tell_seekers();
    }

    fn tell_seekers(&self) {
        let tables = self.tables();
        self.outputs.targets.send_replace(self.hurried(self.roster.targets(&tables)));
        self.outputs.names.send_replace(self.roster.names(&tables));
    }

    fn tell_if_checked(&mut self) {
        if self.checked {
            return;
        }
        let waited = self.charge.clock.now().since(self.began) >= FIRST_ROUND;
        if waited || self.roster.knows(&self.table()) {
            if waited {
                tracing::warn!("not every endpoint has answered its first check; opening all the same");
            }
            self.checked = true;
            self.outputs.checked.send_replace(true);
        }
    }
}

const FOR_NOW: &str = "another process is about to take this one's place; ask again in a moment";

fn refuse_for_now(reply: Reply) {
    // Whoever asked may have gone.
    let _ = reply.send(Err(OperatorError::Impossible(FOR_NOW.to_owned())));
}

/// Waits for the reading under way; for ever when there is none. Safe to cancel.
async fn reading(under_way: &mut Option<(Errand, JoinHandle<Judged>)>) -> (Errand, Judged) {
    let Some((_, job)) = under_way else { return std::future::pending().await };
    let judged = job.await.unwrap_or_else(|e| Judged::Impossible(format!("reading the table failed: {e}")));
    match under_way.take() {
        Some((errand, _)) => (errand, judged),
        None => std::future::pending().await,
    }
}

fn compose(
    roster: &Roster,
    office: &Office,
    table: Arc<Table>,
    generation: Generation,
    origin: Arc<Origin>,
) -> Current {
    let (health, live) = roster.view(&table);
    let (state, owned) = (office.state().clone(), office.owned().clone());
    let snapshot =
        Snapshot::new(generation, Arc::clone(&table), health, owned.over(&table), state.weights(&table));
    let operators =
        Operators { state, owned, revision: office.revision(), trouble: office.trouble().map(str::to_owned) };
    Current { snapshot, live, origin, operators }
}
