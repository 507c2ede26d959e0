//! What an edge shows with a request, read strictly.

use super::Claim;
use crate::reason::FailoverReason;
use crate::units::Epoch;

/// The highest epoch that is believed of somebody else: half of the numbers there are, so that an ownership can still
/// be raised above it.
pub const HIGHEST_EPOCH: Epoch = Epoch(u64::MAX / 2);

/// A request that has passed this many Rhumb processes goes round.
pub const MOST_HOPS: u8 = 4;

/// What an edge shows with a request: who it is of, where it entered, where it is to go, under which ownership.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shown {
    /// The tenant; `None`: the edge's table has none for it.
    pub tenant: Option<Box<str>>,
    /// The region of the edge.
    pub source: Box<str>,
    /// The region that it was sent to.
    pub target: Box<str>,
    /// The owner and the epoch; `None`: nobody owns what it is of.
    pub ownership: Option<(Box<str>, Epoch)>,
    /// The name of the policy that the edge applied.
    pub policy: Box<str>,
    /// How many Rhumb processes it has passed, the edge included.
    pub hops: u8,
    /// Why this region was not the first preference.
    pub failover: Option<FailoverReason>,
    /// Where an earlier attempt with the same idempotency key went, and under which epoch.
    pub prior: Option<(Box<str>, Epoch)>,
}

impl Shown {
    /// Whom the edge takes for the owner.
    #[must_use]
    pub fn claim(&self) -> Option<Claim<'_>> {
        self.ownership.as_ref().map(|(owner, epoch)| Claim { owner, epoch: *epoch })
    }
}

/// The epoch that `text` writes: a decimal without sign, zeros or spaces before it, up to [`HIGHEST_EPOCH`].
#[must_use]
pub fn epoch(text: &str) -> Option<Epoch> {
    decimal(text).map(Epoch).filter(|epoch| *epoch <= HIGHEST_EPOCH)
}

/// The number of hops that `text` writes: from 1.
#[must_use]
pub fn hops(text: &str) -> Option<u8> {
    let hops = decimal(text).and_then(|hops| u8::try_from(hops).ok());
    hops.filter(|hops| *hops > 0)
}

fn decimal(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_plain = digits && (text == "0" || !text.starts_with('0'));
    is_plain.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_written_in_one_way_alone() {
        assert_eq!(
            ["0", "1", "42", "9223372036854775807"].map(epoch),
            [0, 1, 42, u64::MAX / 2].map(|n| Some(Epoch(n)))
        );
        for odd in [
            "",
            " 1",
            "1 ",
            "+1",
            "-1",
            "01",
            "00",
            "0x1",
            "1e3",
            "1.0",
            "one",
            "1,2",
            "9223372036854775808",
            "18446744073709551616",
            "\u{661}",
        ] {
            assert_eq!((epoch(odd), hops(odd)), (None, None), "{odd:?}");
        }
        assert_eq!(["1", "3", "255"].map(hops), [Some(1), Some(3), Some(255)]);
        assert_eq!(["0", "256"].map(hops), [None, None]);
    }
}
