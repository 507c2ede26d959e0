//! What clients did to lists that they share, and whether one order explains all that they were told: whether the
//! history is linearizable, each list by itself.
//!
//! Each write appends a number of its own, and a read shows the whole list. So there is nothing to search for: the
//! longest list that was read is the order of the writes, and what else there is has its place in it. The order holds if
//! nothing in it comes before what had been answered before that was sent.
//!
//! Never: asks a region what it did. Clients saw what they saw.

use std::collections::{BTreeMap, BTreeSet};

/// The moment, on one clock of all clients.
pub type Moment = u64;

/// The number that a write appends; no other write has it.
pub type Write = u64;

/// One request of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Did {
    /// The list.
    pub key: String,
    /// What it did to it.
    pub act: Act,
    /// Before it was sent.
    pub sent: Moment,
    /// After the answer that said it is done; `None`: nobody knows whether it is, or ever will be.
    pub answered: Option<Moment>,
}

/// What a request did to a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Appended this.
    Wrote(Write),
    /// Saw this. A read that was not answered saw nothing, and is left out.
    Read(Vec<Write>),
}

impl Did {
    /// What it appended, if it did.
    pub fn write(&self) -> Option<Write> {
        match self.act {
            Act::Wrote(write) => Some(write),
            Act::Read(_) => None,
        }
    }

    /// The list that it saw, if it read.
    pub fn seen(&self) -> Option<&[Write]> {
        match &self.act {
            Act::Wrote(_) => None,
            Act::Read(seen) => Some(seen),
        }
    }
}

/// Why no order explains a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Breach {
    /// Neither of two lists that were read begins with the other.
    TwoOrders(Vec<Write>, Vec<Write>),
    /// A list holds a write twice.
    Twice(Write),
    /// A list holds what nobody sent.
    Unsent(Write),
    /// The second comes behind the first in the order, and had been answered when the first was sent.
    Backwards(Box<[Did; 2]>),
}

impl Breach {
    /// `first`, and what comes behind it although it was over before.
    pub fn backwards(first: Did, second: Did) -> Breach {
        Breach::Backwards(Box::new([first, second]))
    }
}

/// Whether one order explains what clients did; the lists that none explains.
pub fn explained(history: &[Did]) -> Result<(), BTreeMap<String, Breach>> {
    let mut lists: BTreeMap<&str, Vec<&Did>> = BTreeMap::new();
    for did in history {
        lists.entry(&did.key).or_default().push(did);
    }
    let broken = lists.iter().filter_map(|(key, done)| Some(((*key).to_owned(), explain(done).err()?)));
    let broken: BTreeMap<_, _> = broken.collect();
    if broken.is_empty() { Ok(()) } else { Err(broken) }
}

fn explain(done: &[&Did]) -> Result<(), Breach> {
    let order = order(done)?;
    let place_of: BTreeMap<Write, usize> = order.iter().enumerate().map(|(at, write)| (*write, at)).collect();
    // A read comes before the write that it is the first not to show. What no read shows comes last, in whatever order
    // the clocks want, or never was.
    let place = |did: &Did| match &did.act {
        Act::Read(seen) => Some(2 * seen.len()),
        Act::Wrote(write) => match (place_of.get(write), did.answered) {
            (Some(at), _) => Some(2 * at + 1),
            (None, Some(_)) => Some(2 * order.len() + 1),
            (None, None) => None,
        },
    };
    let mut placed: Vec<_> = done.iter().filter_map(|did| Some((place(did)?, *did))).collect();
    placed.sort_by_key(|(place, _)| *place);
    // From the end: of all that comes behind, what was answered first.
    let mut behind: Option<(Moment, &Did)> = None;
    for same in placed.chunk_by(|(one, _), (other, _)| one == other).rev() {
        for (_, did) in same {
            if let Some((_, later)) = behind.filter(|(answered, _)| *answered < did.sent) {
                return Err(Breach::backwards((*did).clone(), later.clone()));
            }
        }
        let first = same.iter().filter_map(|(_, did)| Some((did.answered?, *did)));
        behind = first.chain(behind).min_by_key(|(answered, _)| *answered);
    }
    Ok(())
}

/// The longest list that was read. Every other one is a beginning of it, and it holds each write once, as it was sent.
fn order(done: &[&Did]) -> Result<Vec<Write>, Breach> {
    let reads = || done.iter().filter_map(|did| did.seen());
    let longest = reads().max_by_key(|seen| seen.len()).unwrap_or_default().to_vec();
    if let Some(other) = reads().find(|seen| !longest.starts_with(seen)) {
        return Err(Breach::TwoOrders(other.to_vec(), longest));
    }
    let sent: BTreeSet<Write> = done.iter().filter_map(|did| did.write()).collect();
    let mut once = BTreeSet::new();
    for write in &longest {
        if !once.insert(*write) {
            return Err(Breach::Twice(*write));
        }
        if !sent.contains(write) {
            return Err(Breach::Unsent(*write));
        }
    }
    Ok(longest)
}
