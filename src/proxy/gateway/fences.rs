//! Tenants whose writes pass here no more for a while, though this region owns them: an edge is about to move them, and
//! waits until their new owner has all that passed before.
//!
//! A fence is of the one who raised it, by its id, and has a number that is drawn whenever it is raised: so an order that
//! comes twice raises another one. It is lost with the process and ends by itself; whoever switches under it is told that
//! it has not held, and begins anew.
//!
//! Never: stands longer than it was asked for.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use rhumb_decision::units::{Key, Millis};

/// The longest that a fence may be asked for.
pub(super) const LONGEST: Millis = Millis(120_000);

/// The fences that stand.
#[derive(Default, Debug)]
pub(in crate::proxy) struct Fences(Mutex<HashMap<u64, Fence>>);

#[derive(Clone, Copy, Debug)]
struct Fence {
    id: u64,
    number: u64,
    until: Millis,
}

impl Fences {
    /// Raises the fence `id` for these tenants until then, under a number that no fence had before; nothing passes once
    /// this returns.
    pub fn raise(
        &self,
        tenants: impl Iterator<Item = Key>,
        (id, number): (u64, u64),
        until: Millis,
        now: Millis,
    ) {
        let mut fences = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        fences.retain(|_, fence| fence.until > now);
        fences.extend(tenants.map(|tenant| (tenant.0, Fence { id, number, until })));
    }

    /// Lifts the fence `id` before these tenants.
    pub fn lift(&self, tenants: impl Iterator<Item = Key>, id: u64) {
        self.remove(tenants, |fence| fence.id == id);
    }

    /// The same of the fence that was raised under `number`.
    pub fn lift_raised(&self, tenants: impl Iterator<Item = Key>, number: u64) {
        self.remove(tenants, |fence| fence.number == number);
    }

    fn remove(&self, tenants: impl Iterator<Item = Key>, is_it: impl Fn(&Fence) -> bool) {
        let mut fences = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for tenant in tenants {
            if fences.get(&tenant.0).is_some_and(&is_it) {
                fences.remove(&tenant.0);
            }
        }
    }

    /// Whether a fence stands before this tenant; `now` is looked at once nobody else can change it.
    pub fn stands(&self, tenant: Key, now: impl FnOnce() -> Millis) -> bool {
        let fences = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = now();
        fences.get(&tenant.0).is_some_and(|fence| fence.until > now)
    }

    /// Whether the fence `number` has stood before all of these since it was raised; then it stands for `span` more at least.
    /// `now` is looked at under the same lock as in [`stands`](Self::stands): whoever passed later saw it stand.
    pub fn holds_on(
        &self,
        tenants: impl Iterator<Item = Key> + Clone,
        number: u64,
        span: Millis,
        now: impl FnOnce() -> Millis,
    ) -> bool {
        let mut fences = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = now();
        let until = now.after(span);
        let stands = |fence: &Fence| fence.number == number && fence.until > now;
        let has_held = tenants.clone().all(|tenant| fences.get(&tenant.0).is_some_and(stands));
        if has_held {
            for tenant in tenants {
                fences.entry(tenant.0).and_modify(|fence| fence.until = fence.until.max(until));
            }
        }
        has_held
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: [Key; 2] = [Key(1), Key(2)];

    #[test]
    fn a_fence_stands_until_its_time_or_until_whoever_raised_it_lifts_it() {
        let fences = Fences::default();
        fences.raise(BOTH.into_iter(), (7, 70), Millis(100), Millis(0));
        assert!(fences.stands(Key(1), || Millis(99)) && !fences.stands(Key(1), || Millis(100)));
        assert!(!fences.stands(Key(3), || Millis(0)));
        fences.lift([Key(1)].into_iter(), 8);
        fences.lift_raised([Key(1)].into_iter(), 71);
        assert!(fences.stands(Key(1), || Millis(1)), "another one's is not lifted");
        fences.lift([Key(1)].into_iter(), 7);
        assert!(!fences.stands(Key(1), || Millis(1)) && fences.stands(Key(2), || Millis(1)));
        fences.lift_raised([Key(2)].into_iter(), 70);
        assert!(!fences.stands(Key(2), || Millis(1)));
    }

    #[test]
    fn a_fence_has_held_only_where_it_is_the_same_one_and_still_stands() {
        let held = |number, now| {
            let fences = Fences::default();
            fences.raise(BOTH.into_iter(), (7, 70), Millis(100), Millis(0));
            let held = fences.holds_on(BOTH.into_iter(), number, Millis(100), || Millis(now));
            (held, fences.stands(Key(2), || Millis(150)))
        };
        assert_eq!(
            [held(70, 99), held(70, 100), held(7, 99)],
            [(true, true), (false, false), (false, false)]
        );
        for other in [(9, 90), (7, 71)] {
            let fences = Fences::default();
            fences.raise(BOTH.into_iter(), (7, 70), Millis(100), Millis(0));
            fences.raise([Key(2)].into_iter(), other, Millis(100), Millis(50));
            let held = fences.holds_on(BOTH.into_iter(), 70, Millis(100), || Millis(60));
            assert!(!held, "somebody raised another, or the same order came twice");
        }
    }
}
