//! The Rhumb processes a request has passed: `Via`, `CDN-Loop`, and the end of loops.

use crate::proxy::gate::trimmed;

/// As many Rhumb processes in a request's past make a loop.
pub const MOST_HOPS: u8 = 4;

/// The most entries of a `Via` that are kept from a trusted proxy.
const ENTRIES: usize = 20;

/// The request has been here before, or has passed too many of its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Looped;

/// Looks for a loop in the values of all `Via` and `CDN-Loop` fields.
///
/// - `id`: this process's id; an entry `rhumb/ID` is this process. Case matters.
/// - Errors: this process is named, or [`MOST_HOPS`] processes of its kind are.
///
/// What a client wrote counts too: the one it can harm is itself.
pub fn check_loop<'v>(
    via: impl Iterator<Item = &'v [u8]>,
    cdn_loop: impl Iterator<Item = &'v [u8]>,
    id: &str,
) -> Result<(), Looped> {
    let mut hops = 0_u8;
    for process in via.flat_map(entries).filter_map(rhumb_in_via) {
        hops = hops.saturating_add(1);
        if process == id.as_bytes() || hops >= MOST_HOPS {
            return Err(Looped);
        }
    }
    match cdn_loop.flat_map(entries).any(|entry| rhumb_in_cdn_loop(entry) == Some(id.as_bytes())) {
        true => Err(Looped),
        false => Ok(()),
    }
}

/// The value of `Via` for the region: what is kept of `received`, then this process.
///
/// - `trusted`: whether the peer is a trusted proxy; of its entries the nearest 20 are kept. Of anyone else's
///   only those that name Rhumb processes are: a loop over several edges is found by them.
/// - `id`: this process's id.
pub fn via<'v>(received: impl Iterator<Item = &'v [u8]>, trusted: bool, id: &str) -> String {
    let mut kept: Vec<&str> = received
        .flat_map(entries)
        .filter(|entry| trusted || rhumb_in_via(entry).is_some())
        .filter_map(|entry| str::from_utf8(entry).ok())
        .collect();
    let own = format!("1.1 rhumb/{id}");
    kept.drain(..kept.len().saturating_sub(ENTRIES));
    kept.push(&own);
    kept.join(", ")
}

fn entries(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(trimmed).filter(|entry| !entry.is_empty())
}

/// The id in an entry such as `1.1 rhumb/ID`, a comment behind it or not.
fn rhumb_in_via(entry: &[u8]) -> Option<&[u8]> {
    entry
        .split(|byte| matches!(byte, b' ' | b'\t'))
        .filter(|word| !word.is_empty())
        .nth(1)?
        .strip_prefix(b"rhumb/")
}

/// The id in an entry such as `rhumb/ID; parameter`.
fn rhumb_in_cdn_loop(entry: &[u8]) -> Option<&[u8]> {
    trimmed(entry.split(|&byte| byte == b';').next()?).strip_prefix(b"rhumb/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looped(via: &[&str], cdn_loop: &[&str]) -> bool {
        let bytes = |value: &&'static str| value.as_bytes();
        let (via, cdn_loop): (Vec<&'static str>, Vec<&'static str>) = (leak(via), leak(cdn_loop));
        check_loop(via.iter().map(bytes), cdn_loop.iter().map(bytes), "edge-1").is_err()
    }

    fn leak(values: &[&str]) -> Vec<&'static str> {
        values.iter().map(|value| &*value.to_string().leak()).collect()
    }

    #[test]
    fn a_request_that_was_here_before_is_a_loop() {
        for via in ["1.1 rhumb/edge-1", "1.0 fred, 1.1  rhumb/edge-1 (x), 1.1 joe", "HTTP/1.1\trhumb/edge-1"]
        {
            assert!(looped(&[via], &[]), "{via}");
        }
        assert!(looped(&["1.1 fred", "1.1 rhumb/edge-1"], &[]));
        assert!(looped(&[], &["rhumb/edge-1"]));
        assert!(looped(&[], &["cdn.test; a=b, rhumb/edge-1 ;x"]));
    }

    #[test]
    fn a_request_that_passed_others_is_none_until_there_are_too_many() {
        for via in
            ["", "rhumb/edge-1", "1.1 rhumb/edge-10", "1.1 rhumb/edge", "1.1 fred (rhumb/edge-1)", ",,"]
        {
            assert!(!looped(&[via], &["rhumb/edge-2", ""]), "{via}");
        }
        assert!(!looped(&["1.1 rhumb/a, 1.1 rhumb/b", "1.1 rhumb/c"], &[]));
        assert!(looped(&["1.1 rhumb/a, 1.1 rhumb/b", "1.1 rhumb/c, 1.1 rhumb/d"], &[]));
    }

    #[test]
    fn via_ends_with_this_process_and_keeps_what_ends_loops() {
        let received = || [&b"1.0 fred, 1.1 rhumb/a (x)"[..], b"1.1 evil\xff"].into_iter();
        assert_eq!(via(received(), false, "edge-1"), "1.1 rhumb/a (x), 1.1 rhumb/edge-1");
        assert_eq!(via(received(), true, "edge-1"), "1.0 fred, 1.1 rhumb/a (x), 1.1 rhumb/edge-1");
        assert_eq!(via([].into_iter(), false, "edge-1"), "1.1 rhumb/edge-1");
        let long = "1.1 a, ".repeat(500);
        assert_eq!(
            via([long.as_bytes()].into_iter(), true, "e"),
            format!("{}1.1 rhumb/e", "1.1 a, ".repeat(ENTRIES))
        );
    }
}
