//! A client that asks ordinary things all the while, and must never notice anything.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use super::harness::{Wire, get};
use super::origin::MOMENT;

/// Asks every 50 ms, on a kept connection and on new ones by turns.
pub struct Victim {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    over: AtomicBool,
    asked: AtomicU64,
    errors: Mutex<Vec<String>>,
}

impl Victim {
    /// Starts to ask.
    pub fn of(edge: SocketAddr) -> Victim {
        let shared = Arc::new(Shared::default());
        let asking = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            let mut kept = Wire::to(edge);
            while !asking.over.load(SeqCst) {
                let nth = asking.asked.fetch_add(1, SeqCst);
                let target = format!("/victim/{nth}");
                let mut new = (nth % 4 == 3).then(|| Wire::to(edge));
                let wire = new.as_mut().unwrap_or(&mut kept);
                wire.send(get("t1.example.test", &target).bytes());
                let wrong = match wire.answer_to("GET") {
                    None => Some(format!("{target}: no answer")),
                    Some(answer) => {
                        let right = answer.status == 200
                            && answer.json()["target"] == target.as_str()
                            && answer.json()["region"] == "eu";
                        (!right).then(|| format!("{target}: {answer:?} {}", answer.text()))
                    }
                };
                if let Some(wrong) = wrong {
                    asking.errors.lock().unwrap().push(wrong);
                    kept = Wire::to(edge);
                }
                std::thread::sleep(MOMENT);
            }
        });
        Victim { shared, thread: Some(thread) }
    }

    /// What it has noticed since it was asked last.
    pub fn errors(&self) -> Vec<String> {
        std::mem::take(&mut *self.shared.errors.lock().unwrap())
    }

    /// How many requests it has sent.
    pub fn asked(&self) -> u64 {
        self.shared.asked.load(SeqCst)
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        self.shared.over.store(true, SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
