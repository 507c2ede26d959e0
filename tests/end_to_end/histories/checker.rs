//! The checker itself: what it lets pass, what it finds, and that a search through all orders finds the same.

use std::collections::{BTreeMap, HashSet};

use crate::harness::history::{Act, Breach, Did, Moment, Write, explained};

fn did(act: Act, sent: Moment, answered: Option<Moment>) -> Did {
    Did { key: "list".to_owned(), act, sent, answered }
}

fn wrote(write: Write, sent: Moment, answered: Moment) -> Did {
    did(Act::Wrote(write), sent, Some(answered))
}

fn read(seen: &[Write], sent: Moment, answered: Moment) -> Did {
    did(Act::Read(seen.to_vec()), sent, Some(answered))
}

#[track_caller]
fn legal(history: &[Did]) {
    assert_eq!(explained(history), Ok(()));
    assert!(searched(history), "a search finds no order");
}

#[track_caller]
fn breach(history: &[Did]) -> Breach {
    assert!(!searched(history), "a search finds an order");
    explained(history).unwrap_err().remove("list").unwrap()
}

#[test]
fn what_one_order_explains_passes() {
    legal(&[]);
    legal(&[read(&[], 1, 2), wrote(7, 3, 4), read(&[7], 5, 6), wrote(8, 7, 8), read(&[7, 8], 9, 10)]);
    // Who asks while it is written may see it or not; and once one has seen it, a later one sees it too.
    legal(&[wrote(7, 1, 9), read(&[], 2, 3), read(&[7], 4, 5), read(&[7], 6, 7)]);
    // What was sent at one time may have come in any order.
    legal(&[wrote(8, 1, 9), wrote(7, 2, 8), read(&[7, 8], 10, 11)]);
    // What nobody saw may have come last, in the order of the clocks.
    legal(&[read(&[], 1, 4), wrote(7, 2, 3), wrote(8, 5, 6)]);
}

#[test]
fn a_write_whose_answer_was_lost_may_have_been_done_or_not_or_much_later() {
    let lost = did(Act::Wrote(7), 1, None);
    legal(&[lost.clone(), read(&[], 2, 3), read(&[], 98, 99)]);
    legal(&[lost.clone(), read(&[7], 2, 3)]);
    legal(&[lost.clone(), read(&[], 2, 3), wrote(8, 4, 5), read(&[8, 7], 6, 7)]);
    let twice = [lost, read(&[7], 2, 3), read(&[], 4, 5)];
    assert_eq!(breach(&twice), Breach::backwards(read(&[], 4, 5), read(&[7], 2, 3)));
}

#[test]
fn a_stale_strong_read_is_found() {
    let stale = [wrote(7, 1, 2), wrote(8, 3, 4), read(&[7], 5, 6)];
    let unseen = Breach::backwards(read(&[7], 5, 6), wrote(8, 3, 4));
    assert_eq!(breach(&stale), unseen);
    // Also where a write has no answer yet: one read has shown it, and the next does not.
    let flapped = [wrote(7, 1, 9), read(&[7], 2, 3), read(&[], 4, 5)];
    assert_eq!(breach(&flapped), Breach::backwards(read(&[], 4, 5), read(&[7], 2, 3)));
}

#[test]
fn a_lost_write_is_found() {
    let lost = [wrote(7, 1, 2), wrote(8, 3, 4), read(&[8], 5, 6)];
    assert_eq!(breach(&lost), Breach::backwards(read(&[8], 5, 6), wrote(7, 1, 2)));
}

#[test]
fn a_write_that_is_seen_before_it_was_sent_is_found() {
    assert_eq!(
        breach(&[read(&[7], 1, 2), wrote(7, 3, 4)]),
        Breach::backwards(wrote(7, 3, 4), read(&[7], 1, 2))
    );
    assert_eq!(breach(&[wrote(7, 1, 2), read(&[7, 8], 3, 4)]), Breach::Unsent(8));
}

#[test]
fn two_writes_in_opposite_orders_are_found() {
    let both = [wrote(7, 1, 9), wrote(8, 1, 9), read(&[7, 8], 2, 3), read(&[8, 7], 2, 3)];
    assert_eq!(breach(&both), Breach::TwoOrders(vec![7, 8], vec![8, 7]));
    let split = [wrote(7, 1, 9), wrote(8, 1, 9), read(&[7], 2, 3), read(&[8], 2, 3)];
    assert_eq!(breach(&split), Breach::TwoOrders(vec![7], vec![8]));
    let against_the_clock = [wrote(7, 1, 2), wrote(8, 3, 4), read(&[8, 7], 5, 6)];
    assert_eq!(breach(&against_the_clock), Breach::backwards(wrote(8, 3, 4), wrote(7, 1, 2)));
}

#[test]
fn a_write_that_was_done_twice_is_found() {
    assert_eq!(breach(&[wrote(7, 1, 2), read(&[7, 7], 3, 4)]), Breach::Twice(7));
}

#[test]
fn each_list_is_judged_by_itself_and_named() {
    let other = |did: Did| Did { key: "other".to_owned(), ..did };
    let mixed = [wrote(7, 1, 2), other(read(&[], 3, 4)), read(&[], 5, 6), other(wrote(8, 7, 8))];
    let unseen = Breach::backwards(read(&[], 5, 6), wrote(7, 1, 2));
    assert_eq!(explained(&mixed), Err(BTreeMap::from([("list".to_owned(), unseen)])));
}

#[test]
fn a_search_through_all_orders_says_the_same_of_histories_that_chance_made() {
    let (mut legal, mut illegal) = (0, 0);
    for seed in 1..=5_000 {
        let history = Chance(seed).history();
        let found = searched(&history);
        assert_eq!(explained(&history).is_ok(), found, "seed {seed}: {history:#?}");
        *if found { &mut legal } else { &mut illegal } += 1;
    }
    assert!(legal > 1_000 && illegal > 1_000, "{legal} legal and {illegal} illegal ones say little");
}

/// Whether some order explains one list, by the search of Wing and Gong: whatever nobody's answer came before may be
/// next. What was tried in vain is not tried again.
fn searched(history: &[Did]) -> bool {
    fn goes_on(
        history: &[Did],
        done: u32,
        list: &mut Vec<Write>,
        vain: &mut HashSet<(u32, Vec<Write>)>,
    ) -> bool {
        let left = || (0..history.len()).filter(|at| done & (1 << at) == 0);
        let Some(first) = left().filter_map(|at| history[at].answered).min() else { return true };
        if !vain.insert((done, list.clone())) {
            return false;
        }
        left().filter(|at| history[*at].sent <= first).any(|at| match &history[at].act {
            Act::Read(seen) => seen == list && goes_on(history, done | 1 << at, list, vain),
            Act::Wrote(write) => {
                list.push(*write);
                let found = goes_on(history, done | 1 << at, list, vain);
                list.pop();
                found
            }
        })
    }
    goes_on(history, 0, &mut Vec::new(), &mut HashSet::new())
}

/// Chance, from a seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    /// A history as a sound store makes it, of up to eight requests; two in three have been spoilt.
    fn history(&mut self) -> Vec<Did> {
        let (mut list, mut history) = (Vec::new(), Vec::new());
        for number in 0..2 + self.below(7) {
            let moment = 100 + 10 * number;
            let (sent, answered) = (moment - self.below(30), moment + self.below(30));
            if self.below(2) == 0 {
                history.push(read(&list, sent, answered));
                continue;
            }
            let is_answered = self.below(6) > 0;
            if is_answered || self.below(2) == 0 {
                list.push(number);
            }
            history.push(did(Act::Wrote(number), sent, is_answered.then_some(answered)));
        }
        if self.below(3) > 0 {
            self.spoil(&mut history);
        }
        history
    }

    /// May leave it legal.
    fn spoil(&mut self, history: &mut [Did]) {
        let at = self.below(history.len() as u64) as usize;
        let did = &mut history[at];
        match (&mut did.act, self.below(4)) {
            (Act::Read(seen), 0) => drop(seen.pop()),
            (Act::Read(seen), 1) => seen.reverse(),
            (Act::Read(seen), 2) => seen.push(self.below(9)),
            (_, 0 | 1) => (did.sent, did.answered) = (did.sent + 40, did.answered.map(|at| at + 40)),
            (_, _) => (did.sent, did.answered) = (did.sent - 40, did.answered.map(|at| at - 40)),
        }
    }
}
