//! Traffic for the demo: reads and a few writes of every tenant, and every five seconds what became of them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::world::TENANTS;
use crate::cli::stop::Stop;

/// How many requests a second, about.
const A_SECOND: u32 = 200;
const THREADS: u32 = 4;
const REPORT: Duration = Duration::from_secs(5);

type Counts = Arc<Mutex<BTreeMap<String, u64>>>;

/// Traffic that flows until it is dropped, after the demo was told to stop.
pub(super) struct Load(Vec<JoinHandle<()>>);

impl Load {
    /// Begins to send requests to the edge on `port`.
    pub fn begin(port: u16, stop: &Stop) -> Self {
        let counts = Counts::default();
        let senders = (0..THREADS).map(|thread| {
            let (counts, stop) = (Arc::clone(&counts), stop.clone());
            std::thread::spawn(move || send(thread, port, &counts, &stop))
        });
        let mut threads: Vec<_> = senders.collect();
        let stop = stop.clone();
        threads.push(std::thread::spawn(move || {
            while !stop.within(REPORT) {
                tell(&counts);
            }
        }));
        Self(threads)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        for thread in self.0.drain(..) {
            // A sender that broke has nothing more to send.
            let _ = thread.join();
        }
    }
}

fn send(thread: u32, port: u16, counts: &Counts, stop: &Stop) {
    let config = ureq::Agent::config_builder()
        .timeout_global(Some(Duration::from_secs(10)))
        .http_status_as_error(false)
        .build();
    let agent = ureq::Agent::new_with_config(config);
    let pause = Duration::from_secs(1) * THREADS / A_SECOND;
    let mut turn = thread as usize;
    while !stop.within(pause) {
        turn += 1;
        let Some((tenant, _)) = TENANTS.get(turn % TENANTS.len()) else { continue };
        let url = format!("http://127.0.0.1:{port}/kv/key-{}", turn % 100);
        let host = format!("{tenant}.localhost");
        // Each tenant in turn; every tenth round writes.
        let answer = if (turn / TENANTS.len()).is_multiple_of(10) {
            agent.put(&url).header("Host", &host).send("some text")
        } else {
            agent.get(&url).header("Host", &host).call()
        };
        let word = match answer {
            Err(_) => "failed".to_owned(),
            Ok(answer) => {
                let region = answer.headers().get("x-served-region").and_then(|region| region.to_str().ok());
                region.map_or_else(|| format!("refused with {}", answer.status().as_u16()), str::to_owned)
            }
        };
        *counts.lock().unwrap_or_else(PoisonError::into_inner).entry(word).or_default() += 1;
    }
}

fn tell(counts: &Counts) {
    let counts = std::mem::take(&mut *counts.lock().unwrap_or_else(PoisonError::into_inner));
    let words: Vec<_> = counts.iter().map(|(word, times)| format!("{word} {times}")).collect();
    // The log goes to the terminal as well, so the lines do not tear each other.
    tracing::warn!("{}", words.join(", "));
}
