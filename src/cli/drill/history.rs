//! What clients asked and what came of it, written down by themselves: one half of what a drill is judged by.
//!
//! Never: asks anybody. Times are since the drill's clock began, and come in with every entry.

use std::collections::BTreeMap;
use std::time::Duration;

/// What a client asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ask {
    /// A write of the tenant under test.
    Write,
    /// A read of it, by whoever is near.
    Local,
    /// A read of it with the pin of the client's own last write.
    Session,
    /// A read of it at its owner.
    Strong,
    /// A write of a tenant that may not leave its jurisdiction.
    Bound,
    /// A read or a write of a tenant that nothing here touches.
    Calm,
}

impl Ask {
    /// All but those of the tenant that nothing touches.
    pub const TOUCHED: &[Self] = &[Self::Write, Self::Local, Self::Session, Self::Strong, Self::Bound];
    /// Reads of the tenant under test.
    pub const READS: &[Self] = &[Self::Local, Self::Session, Self::Strong];

    /// In words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Write => "write",
            Self::Local => "local read",
            Self::Session => "session read",
            Self::Strong => "strong read",
            Self::Bound => "write of the bound tenant",
            Self::Calm => "request of the untouched tenant",
        }
    }
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Came {
    /// An answer, to its end.
    Answer {
        /// Its status.
        status: u16,
        /// Why, of a refusal.
        reason: Option<String>,
        /// Who answered.
        region: Option<String>,
        /// The number that the key held, of a read.
        value: Option<u64>,
        /// Whether the answer says that it is older than what was asked for.
        degraded: bool,
    },
    /// None, and why.
    Nothing(String),
    /// None for longer than any request may take.
    Hung,
}

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// What for.
    pub ask: Ask,
    /// Whose key; each key has one writer, who writes 1, 2, 3 and so on.
    pub key: String,
    /// Of a write: its number. Of a read: the newest number that was acknowledged before it began, and has to be seen.
    pub number: u64,
    /// When it was sent.
    pub began: Duration,
    /// When its answer was there.
    pub ended: Duration,
    /// What came.
    pub came: Came,
}

impl Asked {
    /// Whether it was answered well.
    pub fn is_good(&self) -> bool {
        matches!(self.came, Came::Answer { status: 200..=299, .. })
    }

    /// The id of a write, the same that its region notes.
    pub fn id(&self) -> String {
        format!("{}-{}", self.key, self.number)
    }

    /// How long it took.
    pub fn took(&self) -> Duration {
        self.ended.saturating_sub(self.began)
    }

    /// Who answered.
    pub fn region(&self) -> Option<&str> {
        match &self.came {
            Came::Answer { region, .. } => region.as_deref(),
            Came::Nothing(_) | Came::Hung => None,
        }
    }

    /// What came, in a word or two.
    pub fn kind(&self) -> String {
        match &self.came {
            Came::Answer { status, reason: Some(reason), .. } => format!("{status} {reason}"),
            Came::Answer { status, reason: None, .. } => format!("{status}"),
            Came::Nothing(why) => why.clone(),
            Came::Hung => "no answer at all".to_owned(),
        }
    }
}

/// All requests of a drill, in no order.
#[derive(Debug, Clone, Default)]
pub struct History(pub Vec<Asked>);

impl History {
    /// Those that asked for one of these.
    pub fn of<'a>(&'a self, asks: &'a [Ask]) -> impl Iterator<Item = &'a Asked> {
        self.0.iter().filter(|asked| asks.contains(&asked.ask))
    }

    /// When the first of `run` good answers in a row was there, of those that asked for one of `asks` and began at
    /// `from` or later; `None`: there were not so many in a row.
    pub fn recovered(&self, asks: &[Ask], from: Duration, run: usize) -> Option<Duration> {
        let mut all: Vec<_> = self.of(asks).filter(|asked| asked.began >= from).collect();
        all.sort_by_key(|asked| asked.ended);
        let (mut first, mut good) = (None, 0);
        for asked in all {
            if asked.is_good() {
                first.get_or_insert(asked.ended);
                good += 1;
            } else {
                (first, good) = (None, 0);
            }
            if good == run {
                return first;
            }
        }
        None
    }

    /// How many of each kind failed.
    pub fn errors(&self) -> BTreeMap<String, u64> {
        let mut kinds = BTreeMap::new();
        for asked in self.0.iter().filter(|asked| !asked.is_good()) {
            *kinds.entry(format!("{}: {}", asked.ask.words(), asked.kind())).or_default() += 1;
        }
        kinds
    }

    /// Who gave how many good answers.
    pub fn answered_by(&self, asks: &[Ask], from: Duration, until: Duration) -> BTreeMap<String, u64> {
        let mut regions = BTreeMap::new();
        let within = |asked: &&Asked| asked.is_good() && asked.began >= from && asked.ended <= until;
        for region in self.of(asks).filter(within).filter_map(Asked::region) {
            *regions.entry(region.to_owned()).or_default() += 1;
        }
        regions
    }

    /// So many percent of them took no longer; `None`: there are none.
    pub fn percentile(&self, asks: &[Ask], percent: usize) -> Option<Duration> {
        let mut all: Vec<_> = self.of(asks).map(Asked::took).collect();
        all.sort();
        let last = all.len().checked_sub(1)?;
        all.get(last * percent.min(100) / 100).copied()
    }
}

/// Who gave how many answers, in words.
pub fn by(regions: &BTreeMap<String, u64>) -> String {
    let words: Vec<_> = regions.iter().map(|(region, count)| format!("{region} ({count})")).collect();
    if words.is_empty() { "nobody".to_owned() } else { words.join(", ") }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    pub fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    pub fn good(region: &str, value: Option<u64>) -> Came {
        Came::Answer { status: 200, reason: None, region: Some(region.into()), value, degraded: false }
    }

    pub fn refused(status: u16, reason: &str) -> Came {
        Came::Answer { status, reason: Some(reason.into()), region: None, value: None, degraded: false }
    }

    /// A request that took 5 ms.
    pub fn asked(ask: Ask, number: u64, began: u64, came: Came) -> Asked {
        Asked { ask, key: "k".into(), number, began: ms(began), ended: ms(began + 5), came }
    }

    #[test]
    fn to_recover_is_so_many_good_answers_in_a_row_and_it_counts_from_the_first() {
        let eu = || good("eu", None);
        let history = History(vec![
            asked(Ask::Write, 1, 0, eu()),
            asked(Ask::Write, 2, 10, refused(503, "owner_unavailable")),
            asked(Ask::Write, 3, 20, eu()),
            asked(Ask::Write, 4, 30, refused(503, "owner_unavailable")),
            asked(Ask::Write, 5, 40, eu()),
            asked(Ask::Local, 5, 45, refused(503, "no_region")),
            asked(Ask::Write, 6, 50, eu()),
        ]);
        assert_eq!(history.recovered(&[Ask::Write], ms(5), 2), Some(ms(45)));
        assert_eq!(history.recovered(&[Ask::Write], ms(5), 1), Some(ms(25)));
        assert_eq!(history.recovered(&[Ask::Write], ms(5), 3), None);
        assert_eq!(history.recovered(&[Ask::Write, Ask::Local], ms(30), 2), None, "the read broke the row");
        let kinds = BTreeMap::from([
            ("local read: 503 no_region".to_owned(), 1),
            ("write: 503 owner_unavailable".to_owned(), 2),
        ]);
        assert_eq!(history.errors(), kinds);
    }

    #[test]
    fn who_answered_is_counted_within_a_time() {
        let history = History(vec![
            asked(Ask::Local, 1, 0, good("eu", None)),
            asked(Ask::Local, 1, 10, good("us", None)),
            asked(Ask::Local, 1, 20, good("us", None)),
            asked(Ask::Local, 1, 30, refused(503, "no_region")),
        ]);
        assert_eq!(by(&history.answered_by(&[Ask::Local], ms(0), ms(40))), "eu (1), us (2)");
        assert_eq!(by(&BTreeMap::new()), "nobody");
        assert_eq!(history.answered_by(&[Ask::Local], ms(5), ms(40)), BTreeMap::from([("us".to_owned(), 2)]));
        assert_eq!(
            (history.percentile(&[Ask::Local], 99), history.percentile(&[Ask::Write], 99)),
            (Some(ms(5)), None)
        );
    }
}
