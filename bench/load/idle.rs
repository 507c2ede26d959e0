//! Connections that asked once and then wait, to see what each of them costs.

use std::io::Read;

use crate::options::Options;
use crate::requests::Ask;
use crate::usage::Watched;
use crate::wire::Way;

/// A process that has just begun gives back for a while what it needed to begin; so long this waits for it.
const TURNS: u32 = 15;
/// So many requests on each of the first connections keep it busy.
const BUSY: u64 = 250;
/// Less is no news.
const NEWS: u64 = 256 * 1024;

/// What is in memory once it does not shrink any more from one `pause` to the next.
async fn settled(watched: &Watched, pause: tokio::time::Duration) -> u64 {
    let mut last = u64::MAX;
    for _ in 0..TURNS {
        tokio::time::sleep(pause).await;
        let now = watched.memory();
        if last.saturating_sub(now) < NEWS {
            return now;
        }
        last = now;
    }
    last
}

/// Opens `--connections`, one after the other, and says what memory `--pids` had before and have then.
///
/// Holds them until its input ends.
pub async fn run(options: &Options) {
    let way = Way::of(options);
    let watched = Watched::of(options.text("pids").unwrap_or_default(), options.or("hertz", 100));
    let (count, tenants) = (options.or("connections", 3_000_u64), options.or("tenants", 100_000));
    // What the first ones make a contender keep for good is not what one more costs.
    let mut first = Vec::new();
    for number in 0..16 {
        let mut wire = way.connect().await.expect("a connection");
        wire.ask(&Ask::nth(number, tenants)).await.expect("an answer");
        first.push(wire);
    }
    let pause = tokio::time::Duration::from_millis(options.or("settle", 1_000));
    let mut before = settled(&watched, pause).await;
    // Allocators give back while they are asked for something, so a process that has just read its tables is kept busy.
    for _ in 0..TURNS {
        for number in 0..BUSY {
            for wire in &mut first {
                wire.ask(&Ask::nth(number, tenants)).await.expect("an answer");
            }
        }
        let now = settled(&watched, pause / 4).await;
        if now + NEWS > before {
            break;
        }
        before = now;
    }
    let mut held = Vec::new();
    let mut wrong = 0;
    for number in 0..count {
        let asked = match way.connect().await {
            Ok(mut wire) => wire.ask(&Ask::nth(number, tenants)).await.map(|outcome| (wire, outcome)),
            Err(cause) => Err(cause),
        };
        match asked {
            Ok((wire, outcome)) => {
                wrong += u64::from(outcome != crate::wire::Outcome::Right);
                held.push(wire);
            }
            Err(_) => wrong += 1,
        }
    }
    let after = settled(&watched, pause).await;
    let open = held.len();
    println!(r#"{{"open": {open}, "wrong": {wrong}, "before": {before}, "after": {after}}}"#);
    if options.has("hold") {
        let _ = std::io::stdin().read(&mut [0; 1]);
    }
}
