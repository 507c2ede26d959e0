//! `rhumb run`, and the one place where the parts of an edge are wired together.
//!
//! What could keep the edge from serving is found out before anything is open: bad files, a taken port, a certificate
//! without its key. Then the control side starts, the first round of checks goes by, and the listeners open.
//!
//! Never: a live process without a door.

use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rhumb_decision::units::RegionId;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};

use super::args::RunArgs;
pub(super) use super::stop::Stop;
use super::{Done, Failure};
use crate::admin;
use crate::control::clock::Clock;
use crate::control::first::{First, Start, first};
use crate::control::kept::Kept;
use crate::control::operator::Operator;
use crate::control::outcome::Outcomes;
use crate::control::steward::{Charge, Inputs, Outputs, Steward};
use crate::control::{prober, readiness, resolver};
use crate::proxy::server::{self, Door};
use crate::settings::Settings;
use crate::telemetry::{Lines, Recorder, log_to_stderr};

/// Threads of the control side: checks, names, files, operators. Requests have their own.
const CONTROL_THREADS: usize = 2;

/// Reports of requests that may wait for the steward.
const OUTCOMES: usize = 1_024;

/// Answers of checks and of the resolver that may wait for it.
const ANSWERS: usize = 256;

/// How long the logs may take to write what is on its way at the end.
const LAST_LINES: Duration = Duration::from_secs(1);

/// Runs an edge until it is told to stop.
pub(super) fn run(args: &RunArgs) -> Done {
    let settings = Settings::read(&args.config)?;
    let edge = Edge::prepare(settings, args.last_good)?;
    let stop = Stop::new();
    edge.serve(&stop, || Ok(()))
}

/// An edge that could serve: its files are sound, its ports and certificates are in its hands.
pub(super) struct Edge {
    settings: Arc<Settings>,
    clock: Clock,
    recorder: Recorder,
    log: Lines,
    kept: Kept,
    first: First,
    door: Door,
    admin: TcpListener,
    token: Option<admin::Token>,
}

impl Edge {
    /// Finds out everything that could keep an edge from serving.
    ///
    /// - `last_good`: whether the last good table will do where the files hold none.
    /// - Errors: all that is wrong with the files, or what else stands in the way.
    pub fn prepare(settings: Settings, last_good: bool) -> Result<Self, Failure> {
        let clock = Clock::system();
        let recorder = Recorder::new(clock.wall());
        let log = log_to_stderr(settings.log.level, &recorder).map_err(stands_in_the_way)?;
        for key in settings.not_yet() {
            tracing::warn!("{}: {key}", settings.file.display());
        }
        let kept = Kept::open(&settings.state.dir).map_err(|e| {
            Failure::Usage(format!("state.dir = {:?} cannot be used: {e}", settings.state.dir.display()))
        })?;
        let start = Start {
            path: &settings.table.path,
            edge_region: settings.edge.region.as_str(),
            kept: &kept,
            last_good,
        };
        let first = first(&start, &clock).inspect_err(|_| hint_at_kept(&kept, last_good))?;
        let door = Door::open(&settings).map_err(|problems| Failure::Usage(problems.join("\n")))?;
        let admin = TcpListener::bind(settings.admin.address).map_err(|e| {
            Failure::Usage(format!("admin.address = \"{}\" cannot be listened on: {e}", settings.admin.address))
        })?;
        let token = admin::Token::read(&settings.admin.token_file).map_err(Failure::Usage)?;
        recorder.log_access(settings.log.access.clone()).map_err(stands_in_the_way)?;
        Ok(Self { settings: Arc::new(settings), clock, recorder, log, kept, first, door, admin, token })
    }

    /// Serves until `stop` is asked, by a signal or by somebody else.
    ///
    /// - `opened`: called once the edge is about to take requests; what it returns lives until the edge stops.
    pub fn serve<T>(self, stop: &Stop, opened: impl FnOnce() -> Result<T, Failure>) -> Done {
        let control = runtime("control", CONTROL_THREADS)?;
        let (set_readiness, readiness) = readiness::starting();
        let (outcomes, told) = Outcomes::channel(OUTCOMES);
        let (operator, asked) = Operator::channel();
        let (seen_by, seen) = mpsc::channel(ANSWERS);
        let (resolved_by, resolved) = mpsc::channel(ANSWERS);
        let (hang_up, hangups) = mpsc::channel(1);
        let (targets, targets_told) = watch::channel(Arc::from([]));
        let (names, names_told) = watch::channel(Arc::from([]));
        let charge = Charge {
            path: self.settings.table.path.clone(),
            watch: self.settings.table.watch,
            max_moved: self.settings.table.max_moved,
            edge_region: self.settings.edge.region.as_str().to_owned(),
            kept: self.kept,
            clock: self.clock.clone(),
            recorder: self.recorder.clone(),
        };
        let outputs = Outputs { targets, names, readiness: set_readiness.clone() };
        let entered = control.enter();
        let (steward, reader) = Steward::new(charge, self.first, outputs);
        let inputs = Inputs { seen, resolved, outcomes: told, asked, hangups };
        control.spawn(steward.run(inputs, asked_of(stop)));
        control.spawn(prober::run(targets_told, seen_by, self.clock.clone()));
        control.spawn(resolver::run(names_told, resolved_by));
        let state = admin::AdminState {
            reader: reader.clone(),
            recorder: self.recorder.clone(),
            operator,
            readiness: readiness.clone(),
            clock: self.clock.clone(),
            edge: admin::EdgeIdentity::of(&self.settings.edge),
            token: self.token,
            open_reads: self.settings.admin.open_reads,
        };
        control.spawn(admin::serve(self.admin, state));
        drop(entered);
        control.spawn(heed_signals(Signals::begin(&control)?, stop.clone(), hang_up));
        let mut settled = readiness.clone();
        control.block_on(async {
            tokio::select! {
                () = settled.settled() => {}
                () = stop.asked() => {}
            }
        });
        let kept_until_the_end = opened()?;
        server::serve(self.door, todo_parts(), stop);
        drop(kept_until_the_end);
        control.shutdown_timeout(LAST_LINES);
        self.recorder.close_access_log(LAST_LINES);
        self.log.close(LAST_LINES);
        Ok(())
    }
}
