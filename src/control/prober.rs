//! Asks every endpoint how it is, at once and then again and again, and hands each answer on.
//!
//! Each check takes a connection of its own: a kept one would go on telling of a listener that no longer takes new
//! ones, and the time to connect is the round trip, free of what the region thinks about. A check speaks the HTTP that
//! requests to the region speak, so a region that does not understand it takes none.
//!
//! Never: judges. One answer is not a state; `rhumb_decision::checks` makes states of rows of answers.

mod ask;
mod identity;
/// What the body of an answer to a check says.
pub mod report;

use std::hash::{Hash, Hasher};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rhumb_decision::checks::Probed;
use rhumb_decision::table::{Check, RegionTls};
use rhumb_decision::units::{Key, Millis, mix};
use tokio::sync::{mpsc, watch};

use crate::certificates::known::KnownLeaves;
use crate::control::clock::Clock;
use crate::control::rounds::Rounds;
use ask::Asker;
use identity::Identities;

/// An endpoint to ask; a region has at most one at each address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Target {
    /// The name of its region.
    pub region: Box<str>,
    /// Where it is.
    pub address: SocketAddr,
    /// How it is asked.
    pub check: Check,
    /// TLS towards it; `None`: plain.
    pub tls: Option<RegionTls>,
    /// Whether it is spoken to in HTTP/2.
    pub http2: bool,
    /// What the `Host` header says: the endpoint as the table names it.
    pub host: Box<str>,
}

/// What one check saw.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Seen {
    /// The name of the region.
    pub region: Box<str>,
    /// Which of its endpoints.
    pub address: SocketAddr,
    /// What it says.
    pub probed: Probed,
    /// Why that is DOWN, if the endpoint did not say so in so many words; for people.
    pub failure: Option<Failure>,
    /// When the check began: what it reports was true then or later.
    pub asked_at: Millis,
    /// When the check ended.
    pub at: Millis,
}

impl Target {
    /// The TLS towards it, and whether HTTP/2 is spoken over that.
    fn session(&self) -> Option<(&RegionTls, bool)> {
        Some((self.tls.as_ref()?, self.http2))
    }
}

impl Hash for Target {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.region, self.address).hash(state);
    }
}

/// Why a check failed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Failure {
    /// No connection.
    Connect,
    /// No TLS session: a name, a certificate or an authority does not fit.
    Tls,
    /// No whole answer in time.
    Timeout,
    /// No HTTP answer, or one that broke off.
    Protocol,
    /// An answer other than 200.
    Status(u16),
}

impl Failure {
    /// The stable code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Timeout => "timeout",
            Self::Protocol => "protocol",
            Self::Status(_) => "status",
        }
    }
}

/// No check is repeated sooner, whatever its interval.
const SHORTEST_INTERVAL: Millis = Millis(10);

/// Asks the endpoints that `targets` names, as long as it goes on and `out` takes answers.
///
/// An endpoint is asked when it appears or its target changes, and then every interval, give or take a tenth, so that
/// edges and endpoints that began together drift apart. Safe to drop at any point.
///
/// - `known`: learns the leaves of regions that proved their id, so that requests need not prove it again.
pub async fn run(
    mut targets: watch::Receiver<Arc<[Target]>>,
    out: mpsc::Sender<Seen>,
    clock: Clock,
    known: KnownLeaves,
) {
    let mut rounds = Rounds::new();
    let mut identities = Identities::default();
    loop {
        let wanted = Arc::clone(&targets.borrow_and_update());
        identities.prepare(wanted.iter().filter_map(Target::session)).await;
        rounds.follow(&wanted, |target| {
            let asker = Asker::new(target, &identities, clock.clone(), known.clone());
            round(target.clone(), asker, out.clone(), clock.clone())
        });
        tokio::select! {
            changed = targets.changed() => if changed.is_err() { return },
            () = out.closed() => return,
            () = rounds.ended() => {}
        }
    }
}

/// Asks one endpoint until nobody listens.
async fn round(target: Target, asker: Asker, out: mpsc::Sender<Seen>, clock: Clock) {
    let seed = Key::of(target.address.to_string().as_bytes()).0;
    let interval = target.check.interval.max(SHORTEST_INTERVAL);
    for count in 0_u64.. {
        let (began, asked_at) = (clock.elapsed(), clock.now());
        if let Some((probed, failure)) = asker.ask().await {
            let at = clock.now();
            let (region, address) = (target.region.clone(), target.address);
            let seen = Seen { region, address, probed, failure, asked_at, at };
            if out.send(seen).await.is_err() {
                return;
            }
        }
        let spent = clock.elapsed().saturating_sub(began);
        tokio::time::sleep(pause(interval, seed, count).saturating_sub(spent)).await;
    }
}

/// The time between the beginnings of check `count` and the next: the interval, give or take a tenth.
fn pause(interval: Millis, seed: u64, count: u64) -> Duration {
    let tenth = interval.0 / 10;
    let offset = mix(seed ^ count) % (2 * tenth + 1);
    Millis((interval.0 - tenth).saturating_add(offset)).duration()
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
