//! `rhumb run`, and the one place where the parts of an edge are wired together.
//!
//! What could keep the edge from serving is found out before anything is open: bad files, a taken port, a certificate
//! without its key. Then the control side starts, the first round of checks goes by, and the listeners answer.
//!
//! Never: a live process without a door.

mod believed;
mod journal;
mod keeper;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, JoinHandle};

use keeper::Keeper;
use rhumb_decision::units::Millis;

use super::admission;
use super::args::RunArgs;
use super::check;
use super::signals::Signals;
use super::signing::{self, Purpose};
use super::stop::Stop;
use super::succession::{self, Beginning};
use super::{Done, Failure};
use crate::admin::{self, AdminState, EdgeIdentity, TokenStore};
use crate::alerts::{Alerts, Whose};
use crate::certificates::known::KnownLeaves;
use crate::certificates::listener::CertificateStore;
use crate::control::clock::Clock;
use crate::control::crier::Crier;
use crate::control::desk::Desk;
use crate::control::events::Events;
use crate::control::first::{Copied, First, Start, first};
use crate::control::herald::Herald;
use crate::control::hold;
use crate::control::journal::JournalReader;
use crate::control::kept::Kept;
use crate::control::mover::Mover;
use crate::control::news::Newsdesk;
use crate::control::operator::{Heard, Operator};
use crate::control::outcome::Outcomes;
use crate::control::overseer::Overseer;
use crate::control::readiness::{self, SetReadiness};
use crate::control::resolver::{self, Resolver};
use crate::control::steward::{Charge, Inputs, Outputs, Steward};
use crate::control::{prober, source};
use crate::keys::KeyStore;
use crate::proxy::server::{self, Believed, Door, Leaving, Parts};
use crate::settings::{self, Dns, Role, Settings, Tracing};
use crate::telemetry::{Lines, Origin, Recorder, Sampling, log_to_stderr};

/// Threads of the control side: checks, names, files, operators. Requests have their own.
const CONTROL_THREADS: usize = 2;

/// Reports of requests that may wait for the steward.
const OUTCOMES: usize = 1_024;

/// Answers of checks and look-ups that may wait for it.
const ANSWERS: usize = 256;

/// How long lags and round trips may wait to be published.
const FIGURES: Millis = Millis(1_000);

/// The same at a gateway: while ownership moves, writes wait at edges until it tells them a position.
const FIGURES_FOR_EDGES: Millis = Millis(50);

/// Files that clients cannot use up.
const OTHER_FILES: u64 = 64;

/// How long the control side, and the logs, may take to end.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Runs an edge until it is told to stop.
pub(super) fn run(args: &RunArgs) -> Done {
    let settings = Settings::read(&args.config)?;
    let edge = Edge::prepare(settings, args.last_good, args.upgrade)?;
    edge.tell_panics();
    edge.serve(&Stop::new(), || Ok(()))
}

/// Counts whatever panics, and tells it by the log, which keeps nobody waiting as standard error might.
fn tell_panics(recorder: Recorder) {
    std::panic::set_hook(Box::new(move |panicked| {
        recorder.panicked();
        let backtrace = Backtrace::capture();
        match backtrace.status() {
            BacktraceStatus::Captured => tracing::error!("{panicked}\n{backtrace}"),
            _ => tracing::error!("{panicked}"),
        }
    }));
}

/// A runtime whose threads bear `name`.
pub(super) fn runtime(name: &str, threads: usize) -> Result<Runtime, Failure> {
    let built = Builder::new_multi_thread().worker_threads(threads).thread_name(name).enable_all().build();
    built.map_err(|e| Failure::Failed(format!("the system gives no threads: {e}")))
}

/// An edge that could serve: its files are sound, its ports and certificates are in its hands.
pub(super) struct Edge {
    settings: Settings,
    clock: Clock,
    recorder: Recorder,
    log: Lines,
    kept: Kept,
    desk: Desk,
    events: Events,
    first: First,
    door: Door,
    admin: TcpListener,
    tokens: Arc<TokenStore>,
    admin_tls: Option<Arc<CertificateStore>>,
    signing: Option<Arc<KeyStore>>,
    believed: Option<Believed>,
    pins: Arc<KeyStore>,
    // Last, so that it is dropped last: when a predecessor is let go of, nothing is left to be done in its folder.
    beginning: Beginning,
}

impl Edge {
    /// Finds out everything that could keep an edge from serving.
    ///
    /// - `last_good`: whether the last good table will do where the files hold none.
    /// - `upgrade`: whether to take the place of the process that runs with the same state folder.
    /// - Errors: all that is wrong with the files, or what else stands in the way.
    pub fn prepare(mut settings: Settings, last_good: bool, upgrade: bool) -> Result<Self, Failure> {
        let clock = Clock::system();
        let recorder = Recorder::new(clock.wall());
        let log = log_to_stderr(settings.log.level, &recorder).map_err(|e| Failure::Failed(e.to_string()))?;
        settings.limits.connections = fitting(settings.limits.connections, open_files());
        let stands = |what: &str, cause: &dyn std::fmt::Display| {
            Failure::Usage(format!("{}: {what}: {cause}", settings.file.display()))
        };
        let mut beginning = succession::begin(&settings, upgrade)?;
        let dir = settings.state.dir.display();
        let kept = Kept::open(&settings.state.dir)
            .map_err(|e| stands(&format!("state.dir, {dir}, cannot be used"), &e))?;
        // The predecessor, if there is one, has its hands off by now, so what the journal says is the last word.
        let (desk, run) = journal::open(&settings.state.dir, &clock)?;
        let start = Start {
            path: &settings.table.path,
            edge_region: settings.edge.region.as_str(),
            kept: &kept,
            last_good,
        };
        let first = first(&start, &clock).map_err(|problems| {
            if last_good || !kept.current().exists() {
                return Failure::Files(problems);
            }
            Failure::Usage(format!(
                "{problems}\n\nthe last good table is kept in {dir}; --last-good starts with it"
            ))
        })?;
        for told in check::warnings(&settings, &first.table) {
            tracing::warn!("{told}");
        }
        let Settings { edge, listeners, limits, trust, .. } = &settings;
        let door = Door::open(edge, listeners, limits, trust, &mut beginning.inherited)
            .map_err(|told| Failure::Usage(told.join("\n")))?;
        let admin = match beginning.inherited.take(settings.admin.address) {
            Some(admin) => Ok(admin),
            None => TcpListener::bind(settings.admin.address),
        };
        let admin = admin.map_err(|e| {
            stands(&format!("admin.address, {}, cannot be listened on", settings.admin.address), &e)
        })?;
        let tokens = admission::open(&settings.admin)?;
        let admin_tls = settings.admin.tls.as_ref().map(CertificateStore::open).transpose();
        let admin_tls = admin_tls.map_err(|told| stands("admin.tls", &told.join("; ")))?.map(Arc::new);
        let signing = signing::open(&settings.signature)?;
        let believed = believed::open(&settings, signing.as_ref())?;
        let pins = signing::open_pins(&settings)?;
        recorder.log_access(settings.log.access.clone()).map_err(|e| stands("log.access", &e))?;
        let events = Events::new(run);
        Ok(Self {
            settings,
            clock,
            recorder,
            log,
            kept,
            desk,
            events,
            first,
            door,
            admin,
            tokens,
            admin_tls,
            signing,
            believed,
            pins,
            beginning,
        })
    }

    /// Counts whatever panics in this process, from now on, and tells it by the log.
    pub fn tell_panics(&self) {
        tell_panics(self.recorder.clone());
    }

    /// Serves until `stop` is asked, by a signal or by somebody else.
    ///
    /// - `opened`: called once requests are about to be answered; what it returns is held until the edge stops.
    pub fn serve<T>(self, stop: &Stop, opened: impl FnOnce() -> Result<T, Failure>) -> Done {
        let Beginning { claim, inherited, mut predecessor } = self.beginning;
        // What these settings do not name any more.
        drop(inherited);
        let Self { settings, clock, recorder, log, kept, desk, events, mut first, door, admin, .. } = self;
        let Self { tokens, admin_tls, signing, believed, pins, .. } = self;
        let control = runtime("control", CONTROL_THREADS)?;
        let (set_readiness, readiness) = readiness::starting();
        let (outcomes, told) = Outcomes::channel(OUTCOMES);
        let (operator, Heard { tables: asked, orders }) = Operator::channel();
        let (seen_by, seen) = mpsc::channel(ANSWERS);
        let (resolved_by, resolved) = mpsc::channel(ANSWERS);
        let (hang_up, hangups) = mpsc::channel(1);
        let (changed, files_changed) = mpsc::channel(1);
        let (targets, targets_told) = watch::channel(Arc::from([]));
        let (names, names_told) = watch::channel(Arc::from([]));
        let (files, files_told) = watch::channel(Arc::from([]));
        let (traffic, traffic_told) = watch::channel(Arc::default());
        let charge = Charge {
            path: settings.table.path.clone(),
            watch: settings.table.watch,
            max_moved: settings.table.max_moved,
            edge_region: settings.edge.region.as_str().to_owned(),
            figures: match settings.edge.role {
                Role::Edge => FIGURES,
                Role::Gateway => FIGURES_FOR_EDGES,
            },
            kept,
            clock: clock.clone(),
            recorder: recorder.clone(),
        };
        let mut copied = first.copied.take();
        if predecessor.is_none() {
            copied.take().into_iter().for_each(Copied::keep);
        }
        // Whoever takes another's place writes nothing, and answers nobody, until it may.
        let (hold, held) = hold::hold(predecessor.is_some());
        let (open, mut is_open) = watch::channel(predecessor.is_none());
        let (checked, mut is_checked) = watch::channel(false);
        // It hears what is told from now on, and sends once this process serves.
        let alerts = settings.alerts.webhook.clone();
        let alerts = alerts.map(|to| Alerts::new(to, whose(&settings.edge), &events, recorder.clone()));
        let outputs = Outputs { targets, names, files, checked, traffic, events: events.clone() };
        let inputs =
            Inputs { seen, resolved, outcomes: told, asked, orders, hangups, files: files_changed, held };
        let (steward, reader) = Steward::new(charge, first, desk, outputs);
        let moving = operator.clone();
        let overseer = Overseer::new(
            reader.clone(),
            operator.clone(),
            clock.clone(),
            recorder.clone(),
            traffic_told.clone(),
        );
        let state = AdminState {
            reader: reader.clone(),
            recorder: recorder.clone(),
            operator: operator.clone(),
            events,
            listeners: admin::listeners(),
            stopping: stop.watch(),
            traffic: traffic_told,
            journal: JournalReader::of(&settings.state.dir),
            readiness,
            clock: clock.clone(),
            edge: EdgeIdentity::of(&settings.edge),
            encoded_slash: settings.limits.encoded_slash.into(),
            tokens: Arc::clone(&tokens),
            open_reads: settings.admin.open_reads,
            tls: admin_tls.clone(),
        };
        let (ended, replaced) = (Stop::new(), Stop::new());
        let sockets = (door.sockets(), (settings.admin.address, &admin));
        let estate = succession::estate(sockets.0, sockets.1, &claim);
        let (is_replaced, admin_over) = (replaced.watch(), asked_of(&ended));
        let admin = async move {
            // The sender outlives it, or else nobody is to be answered any more.
            let _ = is_open.wait_for(|open| *open).await;
            admin::serve(admin, state, is_replaced, admin_over).await
        };
        let signals = {
            let _entered = control.enter();
            Signals::take().map_err(|e| Failure::Failed(format!("signals cannot be taken: {e}")))?
        };
        let admin = control.spawn(admin);
        control.spawn(steward.run(inputs, asked_of(&ended)));
        let known = KnownLeaves::default();
        let herald = Herald::new(clock.clone(), known.clone(), signing.clone());
        let crier = Crier::new(reader.clone(), moving.clone(), herald.clone());
        let mover = Mover::new(reader.clone(), moving, clock.clone(), herald);
        control.spawn(mover.run(asked_of(&ended)));
        if settings.edge.role == Role::Edge {
            control.spawn(crier.run(asked_of(&ended)));
            // A gateway sees its own region alone: it learns who owns what, and moves nothing by itself.
            control.spawn(overseer.run(asked_of(&ended)));
        }
        control.spawn(prober::run(targets_told, seen_by, clock.clone(), known.clone()));
        control.spawn(resolver::run(names_told, resolved_by, resolver_of(&settings.dns)));
        control.spawn(source::run(files_told, changed));
        let key_files = believed::files(signing.as_ref(), believed.as_ref());
        for keys in key_files.clone() {
            control.spawn(Purpose::Signature.follow(keys, recorder.clone()));
        }
        control.spawn(Purpose::Pins.follow(Arc::clone(&pins), recorder.clone()));
        control.spawn(admission::follow(Arc::clone(&tokens), recorder.clone()));
        let stores = door.certificates().into_iter().chain(admin_tls).collect();
        let keeper = Keeper::new(stores, reader.clone(), clock.clone(), recorder.clone());
        let (certificates, certificates_changed) = mpsc::channel(1);
        // Held, so that the files are watched as long as the process lives.
        let (_files, files_told) = watch::channel(keeper.files());
        control.spawn(source::run(files_told, certificates.clone()));
        control.spawn(keeper.run(certificates_changed));
        let secrets = {
            let (pins, recorder) = (Arc::clone(&pins), recorder.clone());
            move || {
                key_files.iter().for_each(|keys| Purpose::Signature.reread(keys, &recorder));
                Purpose::Pins.reread(&pins, &recorder);
                admission::reread(&tokens, &recorder);
            }
        };
        control.spawn(signals.heed(stop.clone(), hang_up, certificates, secrets, recorder.clone()));
        control.spawn(flip(stop.clone(), set_readiness.clone()));
        if predecessor.is_some() {
            tracing::info!("the files are sound; waiting for the first checks");
        }
        control.block_on(async {
            tokio::select! {
                _ = is_checked.wait_for(|checked| *checked) => {}
                () = stop.asked() => {}
            }
        });
        if let Some(predecessor) = &mut predecessor {
            if stop.within(Duration::ZERO) {
                let told = "asked to stop before it took over; the running process goes on".to_owned();
                return Err(Failure::Failed(told));
            }
            predecessor.ready().map_err(|e| Failure::Failed(e.to_string()))?;
        }
        door.listen().map_err(Failure::Usage)?;
        copied.into_iter().for_each(Copied::keep);
        let _claim = claim.signed();
        let host = {
            let _entered = control.enter();
            succession::host(&settings, estate, &hold, &recorder)
        };
        hold.release();
        set_readiness.ready();
        open.send_replace(true);
        tracing::info!("requests are taken at {:?}", door.addresses());
        let held = opened()?;
        let Tracing { otlp, sample } = settings.tracing.clone();
        let sampling = otlp.is_some().then(|| Sampling::of(sample));
        let exporter = otlp.map(|collector| recorder.trace_to(collector, origin_of(&settings.edge)));
        let traces = exporter.map(|exporter| control.spawn(exporter.run(asked_of(&ended), LAST_WORDS)));
        let alerts = alerts.map(|alerts| control.spawn(alerts.run(asked_of(&ended), LAST_WORDS)));
        let recorder_of_requests = recorder.clone();
        // A gateway's clients are edges, which hand out pins themselves.
        let pins = believed.is_none().then_some(pins);
        let parts = Parts {
            reader,
            clock,
            recorder: recorder_of_requests,
            outcomes,
            known,
            signing,
            believed,
            newsdesk: Newsdesk::new(operator),
            pins,
            sampling,
        };
        let served = server::serve(door, parts, async {
            if let Some(predecessor) = predecessor {
                predecessor.serving();
                recorder.upgrade("taken_over");
                tracing::info!("this process serves in place of the one before");
            }
            if let Some((host, estate)) = host {
                control.spawn(succession::offer(host, estate, stop.clone(), replaced.clone()));
            }
            tokio::select! {
                () = stop.asked() => Leaving::AtOnce,
                () = replaced.asked() => Leaving::Replaced,
            }
        });
        drop(held);
        ended.ask();
        control.block_on(async {
            // It ends by itself, soon: what it says then is of no use to anybody.
            let _ = admin.await;
            // It ends by itself too, with its last words.
            if let Some(Ok(unsent @ 1..)) = settle(traces).await {
                tracing::warn!("the traces of {unsent} requests were not sent");
            }
            if let Some(Ok(unsent @ 1..)) = settle(alerts).await {
                tracing::warn!("{unsent} events were not sent to the webhook");
            }
        });
        control.shutdown_timeout(LAST_WORDS);
        match &served {
            Ok(0) => tracing::info!("every request was answered; good-bye"),
            Ok(cut) => tracing::warn!("{cut} requests were cut off at the drain timeout"),
            Err(e) => tracing::error!("the system gives no threads: {e}"),
        }
        recorder.close_access_log(LAST_WORDS);
        log.close(LAST_WORDS);
        served.map(drop).map_err(|e| Failure::Failed(format!("the system gives no threads: {e}")))
    }
}

/// What a task that may have been started came to.
async fn settle<T>(task: Option<JoinHandle<T>>) -> Option<Result<T, JoinError>> {
    Some(task?.await)
}

/// Whose spans these are.
fn origin_of(edge: &settings::Edge) -> Origin {
    Origin { id: edge.id.as_str().into(), zone: edge.zone.as_ref().map(|zone| zone.as_str().into()) }
}

/// Whose alerts these are.
fn whose(edge: &settings::Edge) -> Whose {
    Whose { edge: edge.id.as_str().into(), region: edge.region.as_str().into() }
}

fn resolver_of(dns: &Dns) -> Resolver {
    match dns.servers.as_slice() {
        [] => Resolver::system(),
        servers => Resolver::asking(servers.iter().copied()),
    }
}

/// Lets the process have as many files open as the system allows it, and says how many that are.
fn open_files() -> u64 {
    rlimit::increase_nofile_limit(u64::MAX).unwrap_or_else(|e| {
        tracing::warn!("the limit of open files cannot be raised: {e}");
        rlimit::Resource::NOFILE.get_soft().unwrap_or(u64::MAX)
    })
}

/// As many connections as there are files for: each takes one, its request another, and a third is kept for the next
/// request. What is left is for the admin side, checks, tables and logs, which have to work when clients take all.
fn fitting(connections: usize, files: u64) -> usize {
    let most = usize::try_from(files.saturating_sub(OTHER_FILES) / 3).unwrap_or(usize::MAX).max(1);
    if most < connections {
        tracing::warn!(
            "the system lets this process open {files} files, too few for limits.connections = {connections}: taken \
             as {most}; raise the hard limit (LimitNOFILE=, ulimit -Hn)"
        );
    }
    most.min(connections)
}

/// Asked to stop, the edge is not ready any more: whoever balances in front of it may look elsewhere.
async fn flip(stop: Stop, readiness: SetReadiness) {
    stop.asked().await;
    readiness.stopping();
}

fn asked_of(stop: &Stop) -> impl Future<Output = ()> + Send + use<> {
    let stop = stop.clone();
    async move { stop.asked().await }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_never_take_the_files_of_the_rest() {
        for (connections, files, fit) in [
            (20_000, 1 << 20, 20_000),
            (20_000, 4096, 1344),
            (20_000, 256, 64),
            (50, 256, 50),
            (9, 10, 1),
            (9, 0, 1),
        ] {
            assert_eq!(fitting(connections, files), fit, "{connections} connections, {files} files");
        }
    }
}
