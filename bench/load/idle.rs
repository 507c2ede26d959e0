//! Connections that asked once and then wait, to see what each of them costs.

use std::io::Read;

use crate::options::Options;
use crate::requests::Ask;
use crate::usage::Watched;
use crate::wire::Way;

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
    tokio::time::sleep(pause).await;
    let before = watched.memory();
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
    tokio::time::sleep(pause).await;
    let after = watched.memory();
    let open = held.len();
    println!(r#"{{"open": {open}, "wrong": {wrong}, "before": {before}, "after": {after}}}"#);
    if options.has("hold") {
        let _ = std::io::stdin().read(&mut [0; 1]);
    }
}
