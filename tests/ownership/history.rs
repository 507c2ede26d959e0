//! Whether what clients saw of a tenant could have come from one log that takes one operation at a time: each write
//! appends to it and each strong read sees all of it, at some moment between the question and its answer.
//!
//! The search of Wing and Gong (1993), with the memory of states that were tried which Lowe added (2017). A write whose
//! answer nobody heard may have happened, at any time since, or never.
//!
//! Never: guesses. Every order that the times leave open is tried, but for those that no read could have seen.

use std::collections::{BTreeMap, BTreeSet};

/// What a client asked for, and how it ended.
struct Operation {
    /// What a read saw; `None`: it is a write.
    saw: Option<Vec<u64>>,
    is_write: bool,
    asked: usize,
    /// `None`: no answer came.
    answered: Option<usize>,
}

/// What clients did, in the order in which it happened.
#[derive(Default)]
pub struct History {
    operations: BTreeMap<u64, Operation>,
    happened: usize,
}

impl History {
    fn happens(&mut self) -> usize {
        self.happened += 1;
        self.happened
    }

    /// A client asks for a write, or for a strong read.
    pub fn asked(&mut self, id: u64, is_write: bool) {
        let asked = self.happens();
        self.operations.insert(id, Operation { saw: None, is_write, asked, answered: None });
    }

    /// It was told that its write is done.
    pub fn wrote(&mut self, id: u64) {
        let now = self.happens();
        self.operations.get_mut(&id).unwrap().answered = Some(now);
    }

    /// It was told what its read saw.
    pub fn read(&mut self, id: u64, saw: &[u64]) {
        let now = self.happens();
        let operation = self.operations.get_mut(&id).unwrap();
        (operation.answered, operation.saw) = (Some(now), Some(saw.to_vec()));
    }

    /// It was told that nothing was done.
    pub fn refused(&mut self, id: u64) {
        self.operations.remove(&id);
    }

    /// Why no log could have answered so; `None`: one could have.
    pub fn problem(&self) -> Option<String> {
        // What nobody read, nobody saw.
        let all: Vec<(u64, &Operation)> = self.operations.iter().map(|(id, one)| (*id, one)).collect();
        let all: Vec<_> = all.into_iter().filter(|(_, one)| one.is_write || one.answered.is_some()).collect();
        let reads = all.iter().filter_map(|(_, one)| one.saw.as_deref());
        let longest = reads.clone().max_by_key(|saw| saw.len()).unwrap_or_default();
        if let Some(other) = reads.clone().find(|saw| !longest.starts_with(saw)) {
            return Some(format!("history: one read saw {longest:?}, another one {other:?}"));
        }
        let search = Search { all, longest };
        (!search.finds_an_order())
            .then(|| format!("history: no order of it explains the read of {longest:?}"))
    }
}

struct Search<'a> {
    all: Vec<(u64, &'a Operation)>,
    /// What the read saw that saw most: every log that explains the reads begins with it.
    longest: &'a [u64],
}

impl Search<'_> {
    /// The state is which operations are done: what the log is then, follows.
    fn finds_an_order(&self) -> bool {
        let mut tried: BTreeSet<Vec<bool>> = BTreeSet::new();
        let mut open = vec![vec![false; self.all.len()]];
        while let Some(done) = open.pop() {
            if self.is_explained(&done) {
                return true;
            }
            let next: Vec<usize> = self.next(&done).collect();
            // A read changes nothing, so it loses nothing to go first.
            let read = next.iter().find(|at| !self.all[**at].1.is_write);
            for at in read.map_or(&next[..], std::slice::from_ref) {
                let mut then = done.clone();
                then[*at] = true;
                if tried.insert(then.clone()) {
                    open.push(then);
                }
            }
        }
        false
    }

    /// Whether all that was answered is done.
    fn is_explained(&self, done: &[bool]) -> bool {
        self.all.iter().zip(done).all(|((_, one), done)| *done || one.answered.is_none())
    }

    /// What may come next.
    fn next(&self, done: &[bool]) -> impl Iterator<Item = usize> {
        let left = || self.all.iter().enumerate().zip(done).filter(|(_, done)| !**done).map(|(one, _)| one);
        let before = left().filter_map(|(_, (_, one))| one.answered).min().unwrap_or(usize::MAX);
        let long = self.all.iter().zip(done).filter(|((_, one), done)| **done && one.is_write).count();
        let fits = move |id: u64, one: &Operation| match (&one.saw, self.longest.get(long)) {
            (Some(saw), _) => saw.len() == long,
            (None, Some(seen)) => *seen == id,
            (None, None) => one.answered.is_some(),
        };
        // Nothing comes after what was answered before it was asked for.
        left().filter(move |(_, (id, one))| one.asked < before && fits(*id, one)).map(|(at, _)| at)
    }
}

#[cfg(test)]
mod tests {
    use super::History;

    /// `w1` asks for a write and `r9` for a read, `+1` is told that it is done, `-1` that it is not, `9:12` what it saw.
    fn holds(script: &str) -> bool {
        let mut history = History::default();
        for word in script.split(' ') {
            let id = |text: &str| text.parse().unwrap();
            match (word.split_at(1), word.split_once(':')) {
                (_, Some((read, saw))) => {
                    let saw: Vec<u64> = saw.chars().map(|write| id(&write.to_string())).collect();
                    history.read(id(read), &saw);
                }
                (("w", write), _) => history.asked(id(write), true),
                (("r", read), _) => history.asked(id(read), false),
                (("+", write), _) => history.wrote(id(write)),
                (("-", any), _) => history.refused(id(any)),
                _ => panic!("{word}"),
            }
        }
        history.problem().is_none()
    }

    #[test]
    fn what_one_log_could_have_answered_is_linearizable() {
        for script in [
            "r9 9:",
            "w1 +1 r9 9:1",
            "w1 r9 9: +1",
            "w1 r9 9:1 +1",
            "w1 w2 +2 +1 r9 9:12",
            "w1 w2 +2 +1 r9 9:21",
            "w1 w2 r8 r9 9:2 8: +1 +2 r7 7:21",
            "w1 w2 +2 r9 9:2 r8 8:2",
            "w1 w2 +2 r9 9:2 r8 8:21",
            "w1 -1 r9 9:",
            "w1 w2 w3 r9 r8 +3 9:31 8:3 +1 r7 7:312 +2",
            "r9 w1 +1 9:",
            "r9 w1 +1 w2 +2 9:1",
        ] {
            assert!(holds(script), "{script}");
        }
    }

    #[test]
    fn what_no_log_could_have_answered_is_not() {
        for (script, why) in [
            ("w1 +1 r9 9:", "a write that was done is not seen"),
            ("r9 9:1", "a write that nobody asked for is seen"),
            ("r9 9:1 w1 +1", "a write is seen before it was asked for"),
            ("w1 -1 r9 9:1", "a write that was refused is seen"),
            ("w1 +1 r9 9:11", "a write is seen twice"),
            ("w1 +1 w2 +2 r9 9:21", "a later write is seen before an earlier one"),
            ("w1 w2 +1 +2 r9 r8 9:12 8:21", "two reads see two orders"),
            ("w1 r9 9:1 r8 8: +1", "what was seen is seen no more"),
            ("w1 +1 w2 +2 r9 9:2", "the first of two is missing"),
            ("w1 w2 +2 r9 9:2 w3 +3 r8 8:213 r7 7:23", "a read goes back"),
        ] {
            assert!(!holds(script), "{script}: {why}");
        }
    }
}
