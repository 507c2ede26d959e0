//! A state that follows rows of answers, and how a flapping one is slowed down.

use super::Answer;
use crate::health::Status;
use crate::table::Check;
use crate::units::Millis;

/// The longest that a flapping endpoint must answer well before it is up again; and how long it must stay up for
/// its rise to halve.
const CALM: Millis = Millis(60_000);

/// How many answers in a row change a state.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rule {
    rise: u32,
    fall: u32,
    /// The most that the rise of a flapping endpoint grows to.
    most: u32,
}

impl Rule {
    pub(super) fn of(check: &Check) -> Self {
        let rise = check.rise.max(1);
        let a_minute = u32::try_from(CALM.0 / check.interval.0.max(1)).unwrap_or(u32::MAX);
        Self { rise, fall: check.fall.max(1), most: rise.max(a_minute) }
    }

    pub(super) const fn rise(&self) -> u32 {
        self.rise
    }
}

/// UNKNOWN until the first answer, then UP, DEGRADED or DOWN.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Level {
    known: bool,
    takes: Switch,
    full: Switch,
    damping: Damping,
}

impl Level {
    pub(super) fn starting_at(answer: Answer) -> Self {
        let mut level = Self::default();
        level.set(answer);
        level
    }

    pub(super) const fn shown(&self) -> Status {
        match (self.known, self.takes.on, self.full.on) {
            (false, _, _) => Status::Unknown,
            (true, false, _) => Status::Down,
            (true, true, false) => Status::Degraded,
            (true, true, true) => Status::Up,
        }
    }

    /// One more answer; returns whether what is shown changed.
    pub(super) fn observe(&mut self, answer: Answer, at: Millis, rule: &Rule) -> bool {
        if !self.known {
            return self.set(answer);
        }
        let before = self.shown();
        let rise = self.damping.rise(rule);
        if self.takes.observe(answer > Answer::Down, rise, rule.fall) {
            if self.takes.on { self.damping.came_back(at) } else { self.damping.fell(at, rule) }
        }
        self.full.observe(answer == Answer::Up, rule.rise, rule.fall);
        self.shown() != before
    }

    /// Takes the answer at once; returns whether what is shown changed.
    pub(super) fn set(&mut self, answer: Answer) -> bool {
        let before = self.shown();
        self.known = true;
        self.takes = Switch { on: answer > Answer::Down, against: 0 };
        self.full = Switch { on: answer == Answer::Up, against: 0 };
        self.shown() != before
    }
}

/// On or off, and how many answers in a row spoke against it.
#[derive(Clone, Copy, Default, Debug)]
struct Switch {
    on: bool,
    against: u32,
}

impl Switch {
    fn observe(&mut self, good: bool, rise: u32, fall: u32) -> bool {
        if good == self.on {
            self.against = 0;
            return false;
        }
        self.against = self.against.saturating_add(1);
        if self.against < if self.on { fall } else { rise } {
            return false;
        }
        *self = Self { on: good, against: 0 };
        true
    }
}

/// How often the rise has doubled, and since when the endpoint is back up. One that never was down is not back.
#[derive(Clone, Copy, Default, Debug)]
struct Damping {
    doublings: u32,
    back_since: Option<Millis>,
}

impl Damping {
    fn rise(&self, rule: &Rule) -> u32 {
        rule.rise.saturating_mul(2_u32.saturating_pow(self.doublings)).min(rule.most)
    }

    const fn came_back(&mut self, at: Millis) {
        self.back_since = Some(at);
    }

    fn fell(&mut self, at: Millis, rule: &Rule) {
        let Some(since) = self.back_since.take() else { return };
        let calm_minutes = at.since(since).0 / CALM.0;
        if calm_minutes > 0 {
            self.doublings = self.doublings.saturating_sub(u32::try_from(calm_minutes).unwrap_or(u32::MAX));
        } else if self.rise(rule) < rule.most {
            self.doublings += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::mix;
    use Answer::{Degraded, Down, Up};

    const RULE: Rule = Rule { rise: 2, fall: 3, most: 30 };

    fn shown_after(answers: &[Answer]) -> Vec<Status> {
        let mut level = Level::default();
        let at = |i: usize| Millis(i as u64 * 2_000);
        answers
            .iter()
            .enumerate()
            .map(|(i, answer)| {
                level.observe(*answer, at(i), &RULE);
                level.shown()
            })
            .collect()
    }

    #[test]
    fn rows_of_answers_change_the_state() {
        let (u, g, d) = (Status::Up, Status::Degraded, Status::Down);
        let cases: &[(&str, &[Answer], &[Status])] = &[
            ("the first good answer is enough", &[Up], &[u]),
            ("the first bad one too", &[Down], &[d]),
            ("and one between them", &[Degraded], &[g]),
            ("three bad ones lower it", &[Up, Down, Down, Down], &[u, u, u, d]),
            ("only in a row", &[Up, Down, Down, Up, Down, Down], &[u; 6]),
            ("two good ones raise it", &[Down, Up, Up], &[d, d, u]),
            ("only in a row", &[Down, Up, Down, Up], &[d; 4]),
            ("it comes back no better than it says", &[Down, Up, Degraded], &[d, d, g]),
            ("and improves in its own time", &[Down, Degraded, Up, Up], &[d, d, g, u]),
            ("suffering takes a row", &[Up, Degraded, Degraded, Degraded], &[u, u, u, g]),
            ("bad and worse: as bad as all of them", &[Up, Degraded, Down, Down, Down], &[u, u, u, g, d]),
        ];
        for (say, answers, want) in cases {
            assert_eq!(shown_after(answers), *want, "{say}: {answers:?}");
        }
    }

    /// Brings a level back up and lets it fall `up_for` later; returns how many good answers the former took.
    fn cycle(level: &mut Level, at: &mut Millis, up_for: Millis) -> u32 {
        let mut needed = 0;
        while level.shown() != Status::Up {
            needed += 1;
            level.observe(Up, *at, &RULE);
        }
        *at = at.after(up_for);
        while level.shown() != Status::Down {
            level.observe(Down, *at, &RULE);
        }
        needed
    }

    #[test]
    fn the_rise_of_a_flapping_endpoint_doubles_up_to_a_minute_and_halves_with_each_calm_one() {
        let (mut level, mut at) = (Level::starting_at(Up), Millis(0));
        let flap = |level: &mut Level, at: &mut Millis, up_for| cycle(level, at, up_for);
        assert_eq!(flap(&mut level, &mut at, Millis(1_000)), 0, "it was up from the start");
        let needed: Vec<u32> = (0..7).map(|_| flap(&mut level, &mut at, Millis(1_000))).collect();
        assert_eq!(needed, [2, 4, 8, 16, 30, 30, 30]);
        assert_eq!(flap(&mut level, &mut at, Millis(60_000)), 30);
        assert_eq!(flap(&mut level, &mut at, Millis(120_000)), 16, "one calm minute");
        assert_eq!(flap(&mut level, &mut at, Millis(3_600_000)), 4, "two more");
        assert_eq!(flap(&mut level, &mut at, Millis(0)), 2, "and an hour");
    }

    #[test]
    fn a_level_that_falls_for_the_first_time_is_not_flapping() {
        let (mut level, mut at) = (Level::starting_at(Up), Millis(0));
        cycle(&mut level, &mut at, Millis(10));
        assert_eq!(level.damping.rise(&RULE), RULE.rise);
    }

    /// Up and down a second each for five minutes, asked so often that every change could be seen.
    #[test]
    fn flapping_by_the_second_changes_no_more_than_the_doubling_allows() {
        for interval in [50, 100, 200, 250, 500] {
            let rule = Rule { rise: 2, fall: 1, most: 60_000 / interval };
            let mut level = Level::default();
            let changes = (0..300_000 / u64::from(interval))
                .filter(|i| {
                    let at = Millis(i * u64::from(interval));
                    level.observe(if (at.0 / 1_000).is_multiple_of(2) { Up } else { Down }, at, &rule)
                })
                .count();
            // A second holds `1000 / interval` answers: once the rise is above that, it never comes back.
            let comebacks = (1_000 / interval).ilog2() as usize;
            assert!(changes <= 2 + 2 * comebacks, "{changes} changes at an interval of {interval} ms");
            assert_eq!(level.shown(), Status::Down);
        }
    }

    #[test]
    fn whatever_the_answers_a_change_takes_its_row_and_changes_stay_few() {
        for seed in 0..256_u64 {
            let rule = Rule {
                rise: 1 + (mix(seed + 1) % 3) as u32,
                fall: 1 + (mix(seed + 99) % 3) as u32,
                most: 60,
            };
            let mut level = Level::starting_at(Up);
            let (mut falls, mut good, mut bad) = (0, 0, 0);
            let steps = 3_600;
            for step in 0..steps {
                // Runs of up to 16 answers a second.
                let run = mix(seed << 32 | (step / (1 + mix(seed) % 16))) % 5;
                let answer = [Down, Down, Up, Up, Degraded][run as usize];
                (good, bad) = if answer > Down { (good + 1, 0) } else { (0, bad + 1) };
                let before = level.shown();
                level.observe(answer, Millis(step * 1_000), &rule);
                match (before.takes_traffic(), level.shown().takes_traffic()) {
                    (true, false) => {
                        falls += 1;
                        assert!(bad >= rule.fall, "seed {seed}, step {step}");
                    }
                    (false, true) => assert!(good >= rule.rise, "seed {seed}, step {step}"),
                    _ => {}
                }
            }
            // Six doublings lead to a minute; then a minute of good answers stands before every further fall.
            assert!(falls <= 1 + 7 + steps / 60, "seed {seed}: {falls} falls in an hour");
        }
    }
}
