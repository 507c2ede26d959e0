//! The clocks of one process. Its monotonic one begins with it and runs a little too fast or too slow; its wall clock is set
//! by others, forward and back.

use rhumb_decision::operated::Now;
use rhumb_decision::units::{Millis, Wall};

use crate::chance::Chance;

/// What a wall clock shows when the simulation begins.
const BEGINS: u64 = 1_000_000;

#[derive(Clone, Copy)]
pub struct Clock {
    began: u64,
    /// How much passes on it in a thousand: from 953 to 1047, so that two differ by less than a tenth.
    rate: u64,
    /// How far its wall clock is ahead of what is right.
    ahead: i64,
}

impl Clock {
    pub fn new(chance: &mut Chance) -> Self {
        Self { began: 0, rate: 953 + chance.below(95) as u64, ahead: 0 }
    }

    /// One that runs at half its speed.
    pub const fn slow() -> Self {
        Self { began: 0, rate: 500, ahead: 0 }
    }

    /// Its monotonic time.
    pub const fn time(&self, now: u64) -> u64 {
        now.saturating_sub(self.began) * self.rate / 1_000
    }

    /// Its wall clock.
    pub const fn wall(&self, now: u64) -> u64 {
        (BEGINS + now).saturating_add_signed(self.ahead)
    }

    /// Both.
    pub const fn both(&self, now: u64) -> Now {
        Now { at: Millis(self.time(now)), wall: Wall(self.wall(now)) }
    }

    /// The process begins anew.
    pub const fn begin(&mut self, now: u64) {
        self.began = now;
    }

    /// Somebody sets its wall clock, rightly or not.
    pub const fn set(&mut self, ahead: i64) {
        self.ahead = ahead;
    }
}
