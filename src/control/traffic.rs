//! How much traffic each region gets from this edge, how it fares, and how fast: over the last seconds, not since ever.
//!
//! Requests count up and never down; a window of samples says what that came to in the time it spans.
//!
//! Never: reads a clock, or waits; a request pays for a few additions.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rhumb_decision::units::Millis;

/// How often the totals are looked at.
pub const SAMPLE: Millis = Millis(1_000);

/// How many samples a window keeps: ten seconds are short enough to see a drain at work, and long enough not to
/// tremble with single requests.
const SAMPLES: usize = 11;

/// Classes of how long a response took to begin, four to each doubling from 64 µs to 67 s: a percentile is told at most
/// a quarter too high.
const CLASSES: usize = 81;
const FIRST_MICROS: u64 = 64;
const A_DOUBLING: u32 = 4;

/// What became of the requests to one region, since it was first named.
#[derive(Debug)]
pub struct Tally {
    requests: AtomicU64,
    reads: AtomicU64,
    errors: AtomicU64,
    took: [AtomicU64; CLASSES],
}

impl Default for Tally {
    fn default() -> Self {
        let zero = || AtomicU64::new(0);
        Self { requests: zero(), reads: zero(), errors: zero(), took: [const { AtomicU64::new(0) }; CLASSES] }
    }
}

impl Tally {
    /// A request to the region is over.
    ///
    /// - `took`: until its response began; `None`: none did.
    pub fn count(&self, is_read: bool, is_error: bool, took: Option<Duration>) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        if is_read {
            self.reads.fetch_add(1, Ordering::Relaxed);
        }
        if is_error {
            self.errors.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(class) = took.and_then(|took| self.took.get(class(took))) {
            class.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What has been counted so far.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Totals {
            requests: of(&self.requests),
            reads: of(&self.reads),
            errors: of(&self.errors),
            took: std::array::from_fn(|class| self.took.get(class).map_or(0, of)),
        }
    }
}

/// The class that `took` falls into.
fn class(took: Duration) -> usize {
    let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(FIRST_MICROS);
    let doublings = micros.ilog2() - FIRST_MICROS.ilog2();
    // The two bits below the highest are the quarter of its doubling.
    let quarter = (micros >> (micros.ilog2() - A_DOUBLING.ilog2())) & u64::from(A_DOUBLING - 1);
    ((doublings * A_DOUBLING) as usize + quarter as usize).min(CLASSES - 1)
}

/// The longest that falls into a class.
fn longest(class: usize) -> Duration {
    let class = class as u64;
    let (doublings, quarter) = (class / u64::from(A_DOUBLING), class % u64::from(A_DOUBLING));
    let whole = FIRST_MICROS << doublings;
    Duration::from_micros(whole + whole / u64::from(A_DOUBLING) * (quarter + 1))
}

/// A [`Tally`] at one moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Totals {
    requests: u64,
    reads: u64,
    errors: u64,
    took: [u64; CLASSES],
}

/// The last seconds of one region.
#[derive(Clone, Default, Debug)]
pub struct Window(VecDeque<(Millis, Totals)>);

/// What a window comes to.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Figures {
    /// Requests a second.
    pub requests: f64,
    /// Reads a second.
    pub reads: f64,
    /// Requests that ended with a status of 500 or above, or without one, of all: 0.0 to 1.0. 0 where there are none.
    pub errors: f64,
    /// Half of the responses began within this time; `None`: there are none.
    pub p50: Option<Duration>,
    /// All but one in a hundred did.
    pub p99: Option<Duration>,
}

impl Window {
    /// Adds what had been counted at `at`; what is older than the window goes.
    pub fn add(&mut self, at: Millis, totals: Totals) {
        if self.0.len() >= SAMPLES {
            self.0.pop_front();
        }
        self.0.push_back((at, totals));
    }

    /// What it comes to; nothing at all before it has two samples.
    #[must_use]
    pub fn figures(&self) -> Figures {
        let (Some((began, first)), Some((ended, last))) = (self.0.front(), self.0.back()) else {
            return Figures::default();
        };
        let seconds = ended.since(*began).duration().as_secs_f64();
        if seconds <= 0.0 {
            return Figures::default();
        }
        let requests = last.requests.saturating_sub(first.requests);
        let errors = last.errors.saturating_sub(first.errors);
        let took: Vec<u64> =
            last.took.iter().zip(&first.took).map(|(last, first)| last.saturating_sub(*first)).collect();
        Figures {
            requests: requests as f64 / seconds,
            reads: last.reads.saturating_sub(first.reads) as f64 / seconds,
            errors: if requests == 0 { 0.0 } else { errors as f64 / requests as f64 },
            p50: percentile(&took, 50),
            p99: percentile(&took, 99),
        }
    }
}

/// The figures of every region, by name.
pub type Traffic = BTreeMap<Box<str>, Figures>;

/// Looks at every region's totals once in a while.
#[derive(Default, Debug)]
pub struct Meter {
    windows: BTreeMap<Box<str>, Window>,
    sampled: Option<Millis>,
}

impl Meter {
    /// Takes a sample of `regions` where the last is old enough, and says what the windows come to then. A region that
    /// is not among them any more is forgotten.
    pub fn sample<'t>(
        &mut self,
        at: Millis,
        regions: impl IntoIterator<Item = (&'t str, &'t Tally)>,
    ) -> Option<Traffic> {
        if self.sampled.is_some_and(|sampled| at.since(sampled) < SAMPLE) {
            return None;
        }
        self.sampled = Some(at);
        let mut before = std::mem::take(&mut self.windows);
        for (region, tally) in regions {
            let mut window = before.remove(region).unwrap_or_default();
            window.add(at, tally.totals());
            self.windows.insert(region.into(), window);
        }
        Some(self.windows.iter().map(|(region, window)| (region.clone(), window.figures())).collect())
    }
}

/// The time within which `percent` of what was counted in `took` fell.
fn percentile(took: &[u64], percent: u64) -> Option<Duration> {
    let all: u64 = took.iter().sum();
    let wanted = (all * percent).div_ceil(100).max(1);
    let mut seen = 0;
    let at = took.iter().position(|count| {
        seen += count;
        seen >= wanted
    })?;
    Some(longest(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn figures_are_of_the_last_seconds_alone() {
        let (tally, mut window) = (Tally::default(), Window::default());
        assert_eq!(window.figures(), Figures::default());
        for second in 0..60 {
            window.add(Millis(second * 1_000), tally.totals());
            let reads = if second < 40 { 100 } else { 20 };
            (0..reads).for_each(|_| tally.count(true, second >= 40, Some(millis(5))));
            (0..10).for_each(|_| tally.count(false, false, None));
            if second == 0 {
                assert_eq!(window.figures(), Figures::default(), "one sample spans no time");
            }
        }
        let figures = window.figures();
        assert_eq!((figures.requests, figures.reads), (30.0, 20.0));
        assert!((figures.errors - 2.0 / 3.0).abs() < 1e-9, "{figures:?}");
    }

    #[test]
    fn percentiles_are_at_most_a_quarter_too_high_and_never_too_low() {
        for took in [64, 65, 100, 1_000, 1_023, 1_024, 30_000, 999_999, 40_000_000].map(Duration::from_micros)
        {
            let told = longest(class(took));
            assert!(told >= took && told <= took * 5 / 4, "{took:?} is told as {told:?}");
        }
        assert_eq!(class(Duration::ZERO), 0);
        assert_eq!(class(Duration::MAX), CLASSES - 1);
        assert!((1..CLASSES).all(|class| longest(class) > longest(class - 1)));
    }

    #[test]
    fn a_meter_forgets_regions_that_are_gone_and_samples_once_a_second() {
        let (eu, us, mut meter) = (Tally::default(), Tally::default(), Meter::default());
        assert_eq!(meter.sample(Millis(0), [("eu", &eu), ("us", &us)]).unwrap().len(), 2);
        (0..10).for_each(|_| us.count(true, false, None));
        assert_eq!(meter.sample(Millis(999), [("eu", &eu), ("us", &us)]), None);
        let traffic = meter.sample(Millis(2_000), [("us", &us)]).unwrap();
        assert_eq!(
            traffic.iter().map(|(name, f)| (name.as_ref(), f.reads)).collect::<Vec<_>>(),
            [("us", 5.0)]
        );
    }

    #[test]
    fn half_and_all_but_one_in_a_hundred() {
        let (tally, mut window) = (Tally::default(), Window::default());
        window.add(Millis(0), tally.totals());
        (0..98).for_each(|_| tally.count(true, false, Some(millis(10))));
        (0..2).for_each(|_| tally.count(true, false, Some(millis(900))));
        window.add(Millis(1_000), tally.totals());
        let Figures { p50: Some(p50), p99: Some(p99), .. } = window.figures() else { panic!() };
        assert!(p50 >= millis(10) && p50 < millis(13), "{p50:?}");
        assert!(p99 >= millis(900) && p99 < millis(1_125), "{p99:?}");
    }
}
