//! Looks up the names of endpoints in the background, each when its answer has run out, so no request waits for DNS.
//!
//! Each look-up begins with an empty cache and reads the system's configuration anew: a changed `/etc/resolv.conf` or
//! `/etc/hosts` is obeyed without a restart, and no answer is kept longer than its time to live says.
//!
//! Never: forgets the last good answer because a later one failed or was empty.

mod answer;
mod lookup;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use crate::control::rounds::Rounds;
use lookup::{Addresses, Servers};

/// Addresses that one name may have; of more, the first in order are kept.
pub const MAX_ADDRESSES: usize = 64;

/// A name to look up.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Name {
    /// By the A and AAAA records of a host.
    Host {
        /// The host's name.
        host: Box<str>,
        /// The port of every address.
        port: u16,
    },
    /// By the SRV records of a name, then the A and AAAA records of their targets. Only those of the lowest priority
    /// count; their weights do not: an endpoint's weight is the table's to say.
    Service(Box<str>),
}

/// What a name stands for now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Resolved {
    /// The name.
    pub name: Name,
    /// Its addresses, sorted, at most [`MAX_ADDRESSES`]; empty only where none was ever found.
    pub addresses: Vec<SocketAddr>,
    /// Why the last look-up brought nothing, so that `addresses` are older; `None`: it went well.
    pub failure: Option<Failure>,
}

/// Why a look-up brought nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Failure {
    /// No server answered, or none well.
    NoAnswer,
    /// The name does not exist, or has no address.
    NoAddress,
    /// It cannot be a name.
    NoName,
    /// The system's configuration cannot be read.
    NoConfiguration,
}

impl Failure {
    /// The stable code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::NoAnswer => "no_answer",
            Self::NoAddress => "no_address",
            Self::NoName => "no_name",
            Self::NoConfiguration => "no_configuration",
        }
    }
}

/// Whom names are looked up with, and how often.
#[derive(Clone, Debug)]
pub struct Resolver {
    servers: Servers,
    pace: Pace,
}

impl Resolver {
    /// Asks whom `/etc/resolv.conf` names, as it is at each look-up, and heeds `/etc/hosts`.
    #[must_use]
    pub const fn system() -> Self {
        Self { servers: Servers::System, pace: Pace::USUAL }
    }

    /// Asks these name servers and nobody else.
    #[must_use]
    pub fn asking(servers: impl IntoIterator<Item = SocketAddr>) -> Self {
        Self { servers: Servers::These(servers.into_iter().collect()), pace: Pace::USUAL }
    }
}

/// Looks up what `names` names, as long as it goes on and `out` takes answers.
///
/// A name is told of after its first look-up, whatever that brought, and then only when its addresses change or
/// look-ups begin or cease to fail. It is looked up again when the shortest time to live in the answer has passed,
/// though not within a second and at the latest after five minutes; after a failure in a second, then two, up to
/// thirty. Safe to drop at any point.
pub async fn run(mut names: watch::Receiver<Arc<[Name]>>, out: mpsc::Sender<Resolved>, resolver: Resolver) {
    let mut rounds = Rounds::new();
    loop {
        let wanted = Arc::clone(&names.borrow_and_update());
        rounds.follow(&wanted, |name| round(name.clone(), out.clone(), resolver.clone()));
        tokio::select! {
            changed = names.changed() => if changed.is_err() { return },
            () = out.closed() => return,
            () = rounds.ended() => {}
        }
    }
}

/// Looks up one name until nobody listens.
async fn round(name: Name, out: mpsc::Sender<Resolved>, resolver: Resolver) {
    let mut known = Addresses::default();
    let mut told = None;
    let mut failures = 0;
    loop {
        let looked_up = Box::pin(known.look_up(&name, &resolver.servers)).await;
        let (pause, failure) = match looked_up {
            Ok(lives) => (resolver.pace.after_success(lives), None),
            Err(failure) => (resolver.pace.after_failure(failures), Some(failure)),
        };
        failures = if failure.is_some() { failures + 1 } else { 0 };
        let resolved = Resolved { name: name.clone(), addresses: known.all(), failure };
        if told.as_ref() != Some(&resolved) {
            if out.send(resolved.clone()).await.is_err() {
                return;
            }
            told = Some(resolved);
        }
        tokio::time::sleep(pause).await;
    }
}

/// When a name is looked up again.
#[derive(Clone, Copy, Debug)]
struct Pace {
    /// An answer lives no shorter.
    shortest: Duration,
    /// An answer lives no longer.
    longest: Duration,
    /// After the first failure.
    retry: Duration,
    /// After many.
    longest_retry: Duration,
}

impl Pace {
    const USUAL: Self = Self {
        shortest: Duration::from_secs(1),
        longest: Duration::from_secs(300),
        retry: Duration::from_secs(1),
        longest_retry: Duration::from_secs(30),
    };

    fn after_success(&self, lives: Duration) -> Duration {
        lives.clamp(self.shortest, self.longest)
    }

    /// `before`: failures in a row before this one.
    fn after_failure(&self, before: u32) -> Duration {
        self.retry.saturating_mul(2_u32.saturating_pow(before)).min(self.longest_retry)
    }
}

#[cfg(test)]
mod tests;
