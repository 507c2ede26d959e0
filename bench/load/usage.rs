//! What processes have used up so far, from `/proc`.

/// The processes that a contender consists of, as `bench/load/run` found them.
pub struct Watched {
    pids: Vec<u32>,
    /// Nanoseconds in a tick of `/proc/PID/stat`.
    tick: u64,
}

impl Watched {
    /// - `pids`: process ids with commas between; empty: nobody is watched. - `hertz`: ticks in a second.
    pub fn of(pids: &str, hertz: u64) -> Self {
        let pids =
            pids.split(',').filter(|pid| !pid.is_empty()).map(|pid| pid.parse().expect("a process id"));
        Self { pids: pids.collect(), tick: 1_000_000_000 / hertz }
    }

    /// Time on a processor, of all their threads, in nanoseconds: user and system together. A thread that ends takes its
    /// time with it, where the system counts finer than in ticks.
    pub fn cpu(&self) -> u64 {
        self.pids.iter().map(|pid| fine(*pid).unwrap_or_else(|| self.ticks(*pid) * self.tick)).sum()
    }

    fn ticks(&self, pid: u32) -> u64 {
        let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return 0 };
        // The second field is the name, in brackets, and may hold anything.
        let Some((_, rest)) = stat.rsplit_once(") ") else { return 0 };
        rest.split(' ').skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum()
    }

    /// Bytes in memory, what several share counted in parts.
    pub fn memory(&self) -> u64 {
        let of = |pid: &u32| {
            let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
            let line = text.lines().find(|line| line.starts_with("Pss:"))?;
            line.split_whitespace().nth(1)?.parse::<u64>().ok()
        };
        self.pids.iter().filter_map(of).sum::<u64>() * 1024
    }
}

/// What the scheduler counted: the first field of each thread's `schedstat`. Ticks of 10 ms would be a percent and more
/// of a round. `None`: this system does not count so.
fn fine(pid: u32) -> Option<u64> {
    let mut sum = 0;
    for thread in std::fs::read_dir(format!("/proc/{pid}/task")).ok()? {
        let Ok(text) = std::fs::read_to_string(thread.ok()?.path().join("schedstat")) else { continue };
        sum += text.split(' ').next()?.parse::<u64>().ok()?;
    }
    (sum > 0).then_some(sum)
}
