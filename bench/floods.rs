//! Two thousand clients that mean no good, and one that does. Prints what the one saw, and what the edge held.
//!
//! `cargo bench --bench floods`, or with `RHUMB=path/to/rhumb` another binary than the one it builds.
//!
//! Four floods of 2,000 connections each, from four addresses of loopback, against the default limits: heads that come
//! byte by byte, bodies that do, responses that are read byte by byte, and connections that say nothing after their
//! first request. A fifth is held against limits that it exceeds. Each ends when the edge has ended every connection.

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
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use harness::{Edge, Routing, Wire, edge, get, toy};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

const CLIENTS: usize = 2_000;
const SOURCES: [u8; 4] = [11, 12, 13, 14];
/// An ordinary client asks so often.
const ASKS: Duration = Duration::from_millis(50);
/// The edge is looked at so often.
const LOOKS: Duration = Duration::from_millis(250);
/// A flood that nobody ends by then is not ended.
const LONGEST: Duration = Duration::from_secs(150);

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Head,
    Body,
    Read,
    Idle,
}

struct Flood {
    name: &'static str,
    kind: Kind,
    limits: &'static [&'static str],
}

const FLOODS: [Flood; 5] = [
    Flood { name: "slow heads", kind: Kind::Head, limits: &[] },
    Flood { name: "slow bodies", kind: Kind::Body, limits: &[] },
    Flood { name: "slow reads", kind: Kind::Read, limits: &[] },
    Flood { name: "idle", kind: Kind::Idle, limits: &[] },
    Flood {
        name: "idle, beyond the limits",
        kind: Kind::Idle,
        limits: &["connections = 1000", "connections_per_address = 300"],
    },
];

/// One connection of a flood, until it ends.
async fn misbehave(
    kind: Kind,
    source: u8,
    address: SocketAddr,
    is_over: Arc<AtomicBool>,
) -> std::io::Result<()> {
    let socket = TcpSocket::new_v4()?;
    if kind == Kind::Read {
        socket.set_recv_buffer_size(4096)?;
    }
    socket.bind(SocketAddr::new(IpAddr::from([127, 0, 0, source]), 0))?;
    let mut stream: TcpStream = socket.connect(address).await?;
    let begin: &[u8] = match kind {
        Kind::Head => b"GET / HTTP/1.1\r\nHost: acme.app.example\r\nX-Slow: ",
        Kind::Body => b"POST /slow HTTP/1.1\r\nHost: acme.app.example\r\nContent-Length: 1048576\r\n\r\n",
        Kind::Read => b"GET /bytes?n=20000000 HTTP/1.1\r\nHost: acme.app.example\r\n\r\n",
        Kind::Idle => b"GET / HTTP/1.1\r\nHost: acme.app.example\r\n\r\n",
    };
    stream.write_all(begin).await?;
    let mut some = [0; 4096];
    while !is_over.load(Ordering::Relaxed) {
        match kind {
            Kind::Head | Kind::Body => {
                tokio::select! {
                    read = stream.read(&mut some) => if read? == 0 { break },
                    () = tokio::time::sleep(Duration::from_secs(1)) => stream.write_all(b"x").await?,
                }
            }
            Kind::Read => {
                tokio::time::sleep(Duration::from_secs(1)).await;
                if stream.read(&mut some[..1]).await? == 0 {
                    break;
                }
            }
            Kind::Idle => {
                tokio::select! {
                    read = stream.read(&mut some) => if read? == 0 { break },
                    () = tokio::time::sleep(Duration::from_secs(1)) => {}
                }
            }
        }
    }
    Ok(())
}

/// What an ordinary client saw.
#[derive(Default)]
struct Seen {
    /// By whether the connection was new, and status; 0: no answer.
    errors: BTreeMap<(bool, u16), usize>,
    took: Vec<Duration>,
}

/// Asks now on a connection of its own, now on one that it keeps.
fn ask_until(address: SocketAddr, is_over: &AtomicBool) -> Seen {
    let mut seen = Seen::default();
    let mut kept: Option<Wire> = None;
    while !is_over.load(Ordering::Relaxed) {
        let began = Instant::now();
        let fresh = seen.took.len().is_multiple_of(2);
        let ask = get("acme.app.example", "/ordinary");
        let answer = if fresh {
            ask.try_to(address)
        } else {
            let wire = kept.get_or_insert_with(|| Wire::to(address));
            if wire.try_send(&ask.bytes()) { wire.answer_to("GET") } else { None }
        };
        let status = answer.map_or(0, |answer| answer.status);
        if status != 200 {
            *seen.errors.entry((fresh, status)).or_default() += 1;
            kept = None;
        }
        seen.took.push(began.elapsed());
        std::thread::sleep(ASKS.saturating_sub(began.elapsed()));
    }
    seen.took.sort();
    seen
}

fn files(edge: &Edge) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", edge.pid())).unwrap().count()
}

fn percentile(sorted: &[Duration], hundredths: usize) -> f64 {
    sorted.get(sorted.len() * hundredths / 100).map_or(0.0, |took| took.as_secs_f64() * 1000.0)
}

fn run(flood: &Flood) {
    let eu = toy("eu-west-1");
    let routing = Routing::of(&[&eu]).tenant("acme", r#"home = "eu-west-1""#);
    let limits = flood.limits.iter().fold(edge(&routing), |edge, limit| edge.set("limits", limit));
    let limits = limits.set("edge", "threads = 0");
    let edge = match std::env::var("RHUMB") {
        Ok(_) => limits.under(&["sh", "-c", "exec \"$RHUMB\" \"$@\""]).start(),
        Err(_) => limits.start(),
    };
    let address = edge.address();
    for _ in 0..50 {
        assert_eq!(edge.get("acme.app.example", "/warm").status, 200);
    }
    let (memory, open) = (edge.figure("VmRSS"), files(&edge));
    let is_over = Arc::new(AtomicBool::new(false));
    let asking = std::thread::spawn({
        let is_over = Arc::clone(&is_over);
        move || ask_until(address, &is_over)
    });
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    // The region lives in this process: it must not be what a crowd of large answers overwhelms.
    let pause = Duration::from_millis(if flood.kind == Kind::Read { 500 } else { 10 });
    let began = Instant::now();
    let mut crowd = runtime.block_on(async {
        let mut crowd = JoinSet::new();
        for number in 0..CLIENTS {
            let source = SOURCES[number % SOURCES.len()];
            crowd.spawn(misbehave(flood.kind, source, address, Arc::clone(&is_over)));
            if number % 50 == 0 {
                tokio::time::sleep(pause).await;
            }
        }
        crowd
    });
    let (mut most, mut most_memory, mut most_open) = (0, memory, open);
    let (mut first_gone, mut all_gone) = (None, None);
    while all_gone.is_none() && began.elapsed() < LONGEST {
        // Of the connections two may be the ordinary client's.
        let here = edge.metric("rhumb_connections", &[]) as usize;
        most = most.max(here);
        most_memory = most_memory.max(edge.figure("VmRSS"));
        most_open = most_open.max(files(&edge));
        if most > 200 && first_gone.is_none() && here + 50 < most {
            first_gone = Some(began.elapsed());
        }
        if most > 200 && here <= 2 {
            all_gone = Some(began.elapsed());
        }
        std::thread::sleep(LOOKS);
    }
    is_over.store(true, Ordering::Relaxed);
    let seen = asking.join().unwrap();
    runtime.block_on(async { while crowd.join_next().await.is_some() {} });
    std::thread::sleep(Duration::from_secs(2));
    let seconds = |at: Option<Duration>| at.map_or("never".into(), |at| format!("{:.1} s", at.as_secs_f64()));
    println!("{}", flood.name);
    println!("  open at once {most}; fewer from {}, none from {}", seconds(first_gone), seconds(all_gone));
    println!(
        "  an ordinary client asked {} times: {} errors {:?}; p50 {:.1} ms, p99 {:.1} ms, longest {:.1} ms",
        seen.took.len(),
        seen.errors.values().sum::<usize>(),
        seen.errors,
        percentile(&seen.took, 50),
        percentile(&seen.took, 99),
        seen.took.last().map_or(0.0, |took| took.as_secs_f64() * 1000.0)
    );
    println!("  resident KiB: before {memory}, most {most_memory}, after {}", edge.figure("VmRSS"));
    println!("  files open: before {open}, most {most_open}, after {}", files(&edge));
    for reason in
        ["no_region", "owner_unavailable", "overloaded", "deadline", "upstream_failed", "request_timeout"]
    {
        let count = edge.metric("rhumb_refusals_total", &[("reason", reason)]);
        if count > 0.0 {
            println!("  rhumb_refusals_total{{reason=\"{reason}\"}} {count}");
        }
    }
    for limit in [
        "connections",
        "connections_per_address",
        "header_timeout",
        "idle_timeout",
        "request_stalled",
        "response_stalled",
        "buffered_bytes",
        "shed",
        "open_files",
    ] {
        let count = edge.metric("rhumb_limits_total", &[("limit", limit)]);
        if count > 0.0 {
            println!("  rhumb_limits_total{{limit=\"{limit}\"}} {count}");
        }
    }
}

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    for flood in FLOODS {
        if wanted.is_empty() || wanted.iter().any(|word| flood.name.contains(word.as_str())) {
            run(&flood);
        }
    }
}
