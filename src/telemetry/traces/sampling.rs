//! Which traces are recorded: told by the trace's id alone, so that every process that sees it says the same.
//!
//! As OpenTelemetry's consistent sampling has it: the lowest 56 bits of an id are random, and a trace is recorded when
//! they reach a threshold. A larger share records all that a smaller one does.
//!
//! Never: draws a number, or is asked where a client has decided already.

/// How many bits of an id are random, by the W3C's word.
const RANDOM_BITS: u32 = 56;

/// The share of traces that is recorded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sampling {
    /// Ids whose random bits are below it are not.
    from: u64,
}

impl Sampling {
    /// Records this share, 0 to 1; what lies beyond is taken as the nearer end.
    #[must_use]
    pub fn of(share: f64) -> Self {
        let rejected = 1.0 - share.clamp(0.0, 1.0);
        Self { from: (rejected * (1_u64 << RANDOM_BITS) as f64) as u64 }
    }

    /// Whether the trace of this id is recorded.
    #[must_use]
    pub const fn takes(self, trace: u128) -> bool {
        (trace as u64 & ((1 << RANDOM_BITS) - 1)) >= self.from
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rhumb_decision::units::mix;

    /// Ids as they come: well mixed.
    fn traces() -> impl Iterator<Item = u128> {
        (0..100_000_u64).map(|at| u128::from(mix(at)) << 64 | u128::from(mix(at ^ 0x5555)))
    }

    #[test]
    fn all_none_and_a_hundredth() {
        let share = |of: f64| traces().filter(|trace| Sampling::of(of).takes(*trace)).count();
        assert_eq!((share(1.0), share(0.0)), (100_000, 0));
        assert_eq!((share(7.0), share(-1.0)), (100_000, 0));
        // Of fixed ids: no chance is in it.
        assert!((900..1_100).contains(&share(0.01)), "{}", share(0.01));
        assert!((49_000..51_000).contains(&share(0.5)), "{}", share(0.5));
    }

    #[test]
    fn the_random_bits_alone_decide_and_a_larger_share_takes_all_of_a_smaller() {
        let (few, many) = (Sampling::of(0.01), Sampling::of(0.25));
        for trace in traces() {
            assert!(!few.takes(trace) || many.takes(trace));
            assert_eq!(
                few.takes(trace),
                few.takes(trace & ((1 << 56) - 1)),
                "what lies above them does not count"
            );
        }
        // The threshold of a quarter, as the specification writes it: th:c.
        assert!(many.takes(0xc0_0000_0000_0000) && !many.takes(0xbf_ffff_ffff_ffff));
    }
}
