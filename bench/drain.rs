//! A region drained from 100 to 0 in steps of one percent while requests flow: what share of the reads it took at each
//! weight, how long a command took until it was in force, and what failed.
//!
//! `cargo bench --bench drain`, or with `RHUMB=path/to/rhumb` another binary than the one it builds. `SECONDS=60` is the
//! length of the drain, `TENANTS=10000` how many tenants it is over.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a bench may stop, read the time and say what it found"
)]

#[allow(dead_code, unused_imports, reason = "it needs a part of what the stories say with")]
#[path = "../tests/harness/mod.rs"]
mod harness;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use harness::{Edge, Routing, Wire, edge, get, toy};
use serde_json::{Value, json};

const THREADS: usize = 4;

/// Reads at each weight in effect, in percent: at the region that is drained, and in all.
type Shares = BTreeMap<u64, (u64, u64)>;

fn number(name: &str, otherwise: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

fn change(edge: &Edge, method: &str, path: &str, body: &Value) -> Value {
    let answer = edge.order(method, path, body).expect("an answer");
    assert!(answer.status < 300, "{}: {}", answer.status, answer.text());
    answer.json()
}

fn weight(edge: &Edge) -> u64 {
    edge.read("/v1/regions/eu-west-1")["weight"]["effective"].as_f64().unwrap() as u64
}

fn main() {
    let (seconds, tenants) = (number("SECONDS", 60), number("TENANTS", 10_000));
    let (eu, us) = (toy("eu-west-1"), toy("us-east-1"));
    let rows: String = (0..tenants).map(|n| format!("t-{n},eu-west-1,us-east-1\n")).collect();
    let table = Routing::of(&[&eu, &us])
        .tenancy("files", r#"["tenants.csv"]"#)
        .and("[safety]\nmax_drained_share = 1.0");
    let built = edge(&table)
        .file("tenants.csv", format!("id,home,replicas\n{rows}"))
        .set("log", "access = \"off\"")
        .set("limits", "requests_per_connection = 0");
    let edge = match std::env::var("RHUMB") {
        Ok(_) => built.under(&["sh", "-c", "exec \"$RHUMB\" \"$@\""]).start(),
        Err(_) => built.start(),
    };
    let began = Instant::now();
    change(&edge, "POST", "/v1/plan/drain", &json!({"region": "eu-west-1", "to": 0}));
    println!("a plan over {tenants} tenants: {:.1} ms", began.elapsed().as_secs_f64() * 1000.0);
    let (is_over, failed, at) = (AtomicBool::new(false), Mutex::new(0_u64), Mutex::new(100_u64));
    let shares: Mutex<Shares> = Mutex::default();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (is_over, failed, at, shares, edge) = (&is_over, &failed, &at, &shares, &edge);
            scope.spawn(move || {
                let mut wire = Wire::to(edge.address());
                let mut nth = thread;
                while !is_over.load(Ordering::Relaxed) {
                    nth += THREADS;
                    let before = *at.lock().unwrap();
                    let request = get(&format!("t-{}.app.example", nth % tenants), "/");
                    let answer = if wire.try_send(&request.bytes()) { wire.answer_to("GET") } else { None };
                    match answer {
                        Some(answer) if answer.status == 200 => {
                            // What was asked while the weight changed belongs to neither.
                            if before == *at.lock().unwrap() {
                                let mut shares = shares.lock().unwrap();
                                let seen = shares.entry(before).or_default();
                                seen.0 += u64::from(answer.region() == "eu-west-1");
                                seen.1 += 1;
                            }
                        }
                        _ => {
                            *failed.lock().unwrap() += 1;
                            wire = Wire::to(edge.address());
                        }
                    }
                }
            });
        }
        let body = json!({"region": "eu-west-1", "to": 0, "over": format!("{seconds}s"), "step": 1, "reason": "bench",
            "override": ["max_drained_share"]});
        change(&edge, "POST", "/v1/drains", &body);
        while *at.lock().unwrap() > 0 {
            let now = weight(&edge);
            *at.lock().unwrap() = now;
            std::thread::sleep(Duration::from_millis(20));
        }
        std::thread::sleep(Duration::from_secs(1));
        change(&edge, "DELETE", "/v1/regions/eu-west-1/weight", &json!({"reason": "bench"}));
        is_over.store(true, Ordering::Relaxed);
    });
    println!("failed requests: {}", failed.into_inner().unwrap());
    println!("| weight asked | share observed | of reads |");
    println!("| --- | --- | --- |");
    for (weight, (there, all)) in shares.into_inner().unwrap().iter().rev() {
        if weight % 5 == 0 || *weight < 5 {
            println!("| {weight} % | {:.1} % | {all} |", *there as f64 * 100.0 / *all as f64);
        }
    }
    effect(&edge);
}

/// From the moment that a command is sent until a request meets it.
fn effect(edge: &Edge) {
    let request = get("t-1.app.example", "/");
    let mut took = Vec::new();
    for turn in 0..20 {
        let (weight, wanted) = if turn % 2 == 0 { (0, "us-east-1") } else { (100, "eu-west-1") };
        let mut wire = Wire::to(edge.address());
        let body = json!({"weight": weight, "reason": "bench", "override": ["max_drained_share"]});
        let began = Instant::now();
        change(edge, "PUT", "/v1/regions/eu-west-1/weight", &body);
        while request.on(&mut wire).region() != wanted {}
        took.push(began.elapsed());
    }
    took.sort();
    let millis = |at: usize| took[at].as_secs_f64() * 1000.0;
    println!(
        "from command to effect, fsync included: median {:.1} ms, longest {:.1} ms",
        millis(10),
        millis(19)
    );
}
