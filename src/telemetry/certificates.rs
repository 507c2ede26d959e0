//! Until when certificates last: told by whoever reads them, worked out into days when somebody looks.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use prometheus::GaugeVec;

/// A certificate that is in use, and when it ends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CertificateEnd {
    /// What it is for: `listener`, `client_ca`, `region_ca` or `region_client`.
    pub kind: &'static str,
    /// The file that the settings name, or the region.
    pub name: String,
    /// When it ends, since 1970; of several together the first.
    pub ends: Duration,
}

impl CertificateEnd {
    /// How many days are left at `now`, since 1970; below 0 once it has ended.
    #[must_use]
    pub fn days_left(&self, now: Duration) -> f64 {
        const DAY: f64 = 86_400.0;
        (self.ends.as_secs_f64() - now.as_secs_f64()) / DAY
    }
}

/// Those in use, and which of them the gauges show.
#[derive(Default)]
pub(super) struct Certificates(Mutex<(Vec<CertificateEnd>, HashSet<[String; 2]>)>);

impl Certificates {
    /// These are in use from now on, and no others.
    pub fn are(&self, all: Vec<CertificateEnd>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0 = all;
    }

    /// Those in use.
    pub fn list(&self) -> Vec<CertificateEnd> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0.clone()
    }

    /// Sets the gauges to the days that are left at `now`, and forgets those of what is no longer in use.
    pub fn show(&self, gauges: &GaugeVec, now: Duration) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (all, shown) = &mut *inner;
        let mut seen = HashSet::new();
        for end in all.iter() {
            let labels = [end.kind.to_owned(), end.name.clone()];
            if let Ok(gauge) = gauges.get_metric_with_label_values(&labels) {
                gauge.set(end.days_left(now));
            }
            seen.insert(labels);
        }
        for gone in shown.difference(&seen) {
            // It was set by an earlier look; nothing else removes it.
            let _ = gauges.remove_label_values(gone);
        }
        *shown = seen;
    }
}
