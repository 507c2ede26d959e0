//! Whether traffic still trusts an endpoint: ejected after a row of failures, then tried again.

use crate::health::Passive;
use crate::units::Millis;

/// The longest that an endpoint stays ejected before it is tried.
const LONGEST: Millis = Millis(30_000);

/// Trusted, ejected, or on trial.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Trust {
    state: State,
    /// The number of the last trial; the first is 1, and 0 is none's.
    trial: u32,
}

#[derive(Clone, Copy, Default, Debug)]
enum State {
    #[default]
    Trusted,
    Ejected(Term),
    OnTrial(Term),
}

/// How long it lasts: until when, how long this ejection was, and how long a trial may take.
#[derive(Clone, Copy, Debug)]
struct Term {
    until: Millis,
    span: Millis,
    interval: Millis,
}

impl Trust {
    pub(super) const fn shown(&self) -> Passive {
        match self.state {
            State::Trusted => Passive::Trusted,
            State::Ejected(_) => Passive::Ejected,
            State::OnTrial(_) => Passive::OnTrial(self.trial),
        }
    }

    /// A row of failures, or a failed trial.
    pub(super) fn failed(&mut self, at: Millis, interval: Millis) -> bool {
        let interval = Millis(interval.0.max(1));
        let span = match self.state {
            State::Trusted => interval.min(LONGEST),
            State::OnTrial(before) => Millis(before.span.0.saturating_mul(2)).min(LONGEST),
            State::Ejected(_) => return false,
        };
        self.state = State::Ejected(Term { until: at.after(span), span, interval });
        true
    }

    /// A trial that went well, or a request that ended a row of failures.
    pub(super) const fn succeeded(&mut self) -> bool {
        let ends = matches!(self.state, State::OnTrial(_));
        if ends {
            self.state = State::Trusted;
        }
        ends
    }

    /// A trial that nobody used, or whose user never came back, is offered anew, by a new number.
    pub(super) fn tick(&mut self, at: Millis) -> bool {
        let (State::Ejected(term) | State::OnTrial(term)) = self.state else { return false };
        if at < term.until {
            return false;
        }
        self.trial = self.trial.wrapping_add(1).max(1);
        self.state = State::OnTrial(Term { until: at.after(term.interval), ..term });
        true
    }

    /// When [`Self::tick`] will next change something; `None`: not by time alone.
    #[cfg(test)]
    pub(super) const fn next_wake(&self) -> Option<Millis> {
        match self.state {
            State::Trusted => None,
            State::Ejected(term) | State::OnTrial(term) => Some(term.until),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Millis = Millis(2_000);

    /// Fails the endpoint and every trial of it; returns how long each ejection lasted.
    fn ejections(interval: Millis, count: usize) -> Vec<u64> {
        let (mut trust, mut at) = (Trust::default(), Millis(0));
        (0..count)
            .map(|_| {
                assert!(trust.failed(at, interval));
                assert_eq!(trust.shown(), Passive::Ejected);
                let until = trust.next_wake().unwrap();
                assert!(!trust.tick(Millis(until.0 - 1)), "not before its time");
                let span = until.since(at);
                at = until;
                assert!(trust.tick(at));
                span.0
            })
            .collect()
    }

    #[test]
    fn an_ejection_doubles_while_trials_fail_up_to_thirty_seconds() {
        assert_eq!(ejections(INTERVAL, 6), [2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
        assert_eq!(ejections(Millis(60_000), 2), [30_000, 30_000], "even when checks are rare");
    }

    #[test]
    fn a_good_trial_ends_it_and_the_next_ejection_is_short_again() {
        let mut trust = Trust::default();
        trust.failed(Millis(0), INTERVAL);
        trust.tick(Millis(2_000));
        trust.failed(Millis(2_100), INTERVAL);
        trust.tick(Millis(6_100));
        assert_eq!(trust.shown(), Passive::OnTrial(2));
        assert!(trust.succeeded());
        assert_eq!((trust.shown(), trust.next_wake()), (Passive::Trusted, None));
        trust.failed(Millis(7_000), INTERVAL);
        assert_eq!(trust.next_wake(), Some(Millis(9_000)));
    }

    #[test]
    fn what_was_sent_before_the_ejection_changes_nothing() {
        let mut trust = Trust::default();
        trust.failed(Millis(0), INTERVAL);
        assert!(!trust.failed(Millis(10), INTERVAL) && !trust.succeeded());
        assert_eq!((trust.shown(), trust.next_wake()), (Passive::Ejected, Some(Millis(2_000))));
    }

    #[test]
    fn a_trial_without_an_end_gets_a_new_number_each_interval() {
        let mut trust = Trust::default();
        trust.failed(Millis(0), INTERVAL);
        trust.tick(Millis(2_000));
        assert!(!trust.tick(Millis(3_999)) && trust.shown() == Passive::OnTrial(1));
        assert!(trust.tick(Millis(4_000)) && trust.shown() == Passive::OnTrial(2));
        // The first trial's user comes back late, and well.
        assert!(trust.succeeded() && trust.shown() == Passive::Trusted);
    }

    #[test]
    fn after_a_pause_one_trial_follows_not_many() {
        let mut trust = Trust::default();
        trust.failed(Millis(0), INTERVAL);
        assert!(trust.tick(Millis(3_600_000)) && !trust.tick(Millis(3_600_000)));
        assert_eq!((trust.shown(), trust.next_wake()), (Passive::OnTrial(1), Some(Millis(3_602_000))));
    }

    #[test]
    fn a_trusted_endpoint_stays_so() {
        let mut trust = Trust::default();
        assert!(!trust.succeeded() && !trust.tick(Millis(u64::MAX)) && trust.next_wake().is_none());
    }
}
