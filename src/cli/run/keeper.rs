//! Keeps the certificates of listeners as their files have them, and tells in time when any certificate ends.
//!
//! Never: takes a connection down, or what cannot be used up. What is bad is told, counted and left where it is.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rhumb_decision::table::{RegionTls, Table};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use crate::certificates::leaf::first_end;
use crate::certificates::listener::CertificateStore;
use crate::certificates::pem;
use crate::control::clock::Clock;
use crate::control::snapshot::Reader;
use crate::telemetry::{CertificateEnd, Recorder};

/// From this long before its end on, a certificate is told of once a [`DAY`].
const WARN: Duration = Duration::from_secs(14 * 86_400);
const DAY: Duration = Duration::from_secs(86_400);

/// How often it is looked whether a certificate is to be told of.
const LOOK: Duration = Duration::from_secs(60);

/// Looks after the certificates.
pub(super) struct Keeper {
    stores: Vec<Arc<CertificateStore>>,
    reader: Reader,
    clock: Clock,
    recorder: Recorder,
    reminder: Reminder,
}

impl Keeper {
    /// Looks after these of the listeners, and those of the regions of the table in force.
    pub fn new(stores: Vec<Arc<CertificateStore>>, reader: Reader, clock: Clock, recorder: Recorder) -> Self {
        Self { stores, reader, clock, recorder, reminder: Reminder::default() }
    }

    /// The files to watch.
    pub fn files(&self) -> Arc<[PathBuf]> {
        self.stores.iter().flat_map(|store| store.files()).collect()
    }

    /// Reads the listeners' files again whenever `changed` says so, for as long as the process lives.
    pub async fn run(mut self, mut changed: mpsc::Receiver<()>) {
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut table = None;
        loop {
            let current = self.reader.current();
            if table.as_ref().is_none_or(|table| !Arc::ptr_eq(table, current.table())) {
                table = Some(Arc::clone(current.table()));
                self.list(current.table());
            }
            drop(current);
            tokio::select! {
                Some(()) = changed.recv() => {
                    self.reload().await;
                    table = None;
                }
                published = self.reader.changed() => if !published { return },
                _ = look.tick() => self.remind(),
            }
        }
    }

    async fn reload(&self) {
        let stores = self.stores.clone();
        let read = move || stores.iter().map(|store| store.reload()).collect::<Vec<_>>();
        for outcome in tokio::task::spawn_blocking(read).await.unwrap_or_default() {
            for _ in 0..outcome.taken {
                self.recorder.certificate_reload("taken");
            }
            if outcome.taken > 0 {
                tracing::info!("{} new certificates are shown from now on", outcome.taken);
            }
            for told in outcome.refused {
                self.recorder.certificate_reload("refused");
                tracing::error!("a certificate was not taken, the old one stays: {told}");
            }
        }
    }

    fn list(&self, table: &Table) {
        let of_listeners = self.stores.iter().flat_map(|store| store.lasting());
        let of_listeners = of_listeners.map(|lasting| CertificateEnd {
            kind: lasting.kind,
            name: lasting.file,
            ends: lasting.ends,
        });
        let regions = table.regions().iter().filter_map(|region| Some((&region.name, region.tls.as_ref()?)));
        let all = of_listeners.chain(regions.flat_map(|(name, tls)| of_region(name, tls)));
        self.recorder.certificates_are(all.collect());
    }

    fn remind(&mut self) {
        let now = self.clock.wall();
        for end in self.reminder.due(&self.recorder.certificates(), now) {
            let (kind, name, days) = (end.kind, &end.name, end.days_left(now));
            if days < 0.0 {
                tracing::error!("the certificate of {kind} {name} has ended; whoever is shown it refuses it");
            } else {
                tracing::warn!("the certificate of {kind} {name} ends in {days:.1} days");
            }
        }
    }
}

/// Those of one region: what it is believed by, and what the edge shows to it.
fn of_region(name: &str, tls: &RegionTls) -> impl Iterator<Item = CertificateEnd> {
    let certificate = tls.certificate.as_ref().map(|certificate| &certificate.chain);
    let both = [("region_ca", tls.ca.as_ref()), ("region_client", certificate)];
    let name = name.to_owned();
    both.into_iter().filter_map(move |(kind, text)| {
        let chain = pem::chain(text?).ok()?;
        let ends = first_end(chain.iter().map(AsRef::as_ref))?;
        Some(CertificateEnd { kind, name: name.clone(), ends })
    })
}

/// Who was told of, and when.
#[derive(Default)]
struct Reminder(HashMap<(&'static str, String), (Duration, Duration)>);

impl Reminder {
    /// Those of `all` to tell of at `now`: near their end or past it, and not told of for a day, or other than then.
    fn due(&mut self, all: &[CertificateEnd], now: Duration) -> Vec<CertificateEnd> {
        let near = all.iter().filter(|end| end.ends <= now + WARN);
        let due: Vec<_> = near
            .filter(|end| {
                let told = self.0.get(&(end.kind, end.name.clone()));
                told.is_none_or(|(at, ends)| *ends != end.ends || now.saturating_sub(*at) >= DAY)
            })
            .cloned()
            .collect();
        self.0.retain(|(kind, name), _| all.iter().any(|end| end.kind == *kind && end.name == *name));
        self.0.extend(due.iter().map(|end| ((end.kind, end.name.clone()), (now, end.ends))));
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1_800_000_000);

    fn end(name: &str, days: i64) -> CertificateEnd {
        let ends = Duration::from_secs(1_800_000_000_u64.saturating_add_signed(days * 86_400));
        CertificateEnd { kind: "listener", name: name.into(), ends }
    }

    fn names(due: &[CertificateEnd]) -> Vec<&str> {
        due.iter().map(|end| end.name.as_str()).collect()
    }

    #[test]
    fn what_ends_soon_is_told_of_once_a_day() {
        let mut reminder = Reminder::default();
        let all = [end("long", 15), end("soon", 14), end("over", -1)];
        assert_eq!(names(&reminder.due(&all, NOW)), ["soon", "over"]);
        assert_eq!(names(&reminder.due(&all, NOW + DAY / 2)), [] as [&str; 0]);
        assert_eq!(names(&reminder.due(&all, NOW + DAY)), ["long", "soon", "over"]);
    }

    #[test]
    fn another_certificate_in_its_place_is_told_of_by_itself() {
        let mut reminder = Reminder::default();
        assert_eq!(names(&reminder.due(&[end("a", 3)], NOW)), ["a"]);
        assert_eq!(names(&reminder.due(&[end("a", 90)], NOW)), [] as [&str; 0]);
        assert_eq!(names(&reminder.due(&[end("a", 2)], NOW)), ["a"]);
    }
}
