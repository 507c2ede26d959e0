//! Policies: presets, explicit keys over them, and what does nothing yet.

use rhumb_decision::policy::{
    Idempotency, OnOwnerChange, OnPinLost, Policy, ReadsFrom, Sticky, Topology, WriteFailover, WritesTo,
};
use rhumb_decision::units::Millis;

use super::*;

fn policy(keys: &str) -> Policy {
    let table = with(&format!("[policies.p]\n{keys}"));
    table.policies()[1].clone()
}

#[test]
fn without_a_word_the_default_is_the_single_writer() {
    let table = with("");
    assert_eq!(*table.policies(), [Topology::SingleWriter.preset()]);
    assert_eq!(policy(""), Policy { name: "p".into(), ..Topology::SingleWriter.preset() });
}

#[test]
fn a_topology_is_its_preset_and_explicit_keys_win() {
    for topology in Topology::ALL {
        let read = policy(&format!("topology = \"{}\"", topology.code()));
        assert_eq!(read, Policy { name: "p".into(), ..topology.preset() });
    }
    let read = policy("topology = \"home-only\"\nreads.failover = true\nwrites = { failover = \"manual\" }");
    assert_eq!((read.reads.from, read.reads.failover), (ReadsFrom::Owner, true));
    assert_eq!(read.writes.failover, WriteFailover::Manual);
    let read = policy("topology = \"read-only\"\nwrites.to = \"owner\"");
    assert_eq!(read.writes.to, WritesTo::Owner);
    let read = policy("topology = \"active-passive\"\nreads = { max_staleness = \"1s\" }");
    assert_eq!((read.reads.from, read.reads.max_staleness), (ReadsFrom::Owner, Millis(1_000)));
}

#[test]
fn every_key_is_read() {
    let read = policy(
        r#"sticky = "session"
reads = { from = "owner", failover = false, max_staleness = "1s", read_your_writes = "2s", on_pin_lost = "refuse" }
writes = { to = "local", hold = "3s", failover = "automatic", after = "4s", cooldown = "5s", max_lag = "6s", idempotency = "required", on_owner_change = "refuse" }
retries = { attempts = 10, across_regions = false, budget = 0, on = ["reset", "503", "429", "503"] }
timeout = "0s"
"#,
    );
    assert_eq!(read.sticky, Sticky::Session);
    assert_eq!((read.reads.from, read.reads.failover), (ReadsFrom::Owner, false));
    assert_eq!((read.reads.max_staleness, read.reads.read_your_writes), (Millis(1_000), Millis(2_000)));
    assert_eq!(read.reads.on_pin_lost, OnPinLost::Refuse);
    assert_eq!((read.writes.to, read.writes.failover), (WritesTo::Local, WriteFailover::Automatic));
    let spans = [read.writes.hold, read.writes.after, read.writes.cooldown, read.writes.max_lag];
    assert_eq!(spans, [3_000, 4_000, 5_000, 6_000].map(Millis));
    assert_eq!(
        (read.writes.idempotency, read.writes.on_owner_change),
        (Idempotency::Required, OnOwnerChange::Refuse)
    );
    let retries = &read.retries;
    assert_eq!((retries.attempts, retries.across_regions, retries.budget_percent), (10, false, 0));
    assert_eq!((retries.on_connect, retries.on_reset, &*retries.on_status), (false, true, &[429, 503][..]));
    assert_eq!(read.timeout, None);
    assert!(policy("retries.on = []").retries.on_status.is_empty());
}

#[test]
fn what_cannot_be_is_told() {
    for (key, message) in [
        (
            "topology = \"active_active\"",
            "topology: must not be \"active_active\"; did you mean \"active-active\"?",
        ),
        ("sticky = \"user\"", "sticky: must not be \"user\"; write \"tenant\", \"session\" or \"request\""),
        (
            "timeout = \"30\"",
            "timeout: \"30\" is no duration; write a whole number and ms, s, m or h, such as \"5s\"",
        ),
        ("reads = { form = \"local\" }", "reads.form: there is no key \"form\" here; did you mean \"from\"?"),
        ("reads.from = \"home\"", "reads.from: must not be \"home\"; write \"local\" or \"owner\""),
        ("reads.failover = \"no\"", "reads.failover: must be true or false, not \"no\""),
        ("writes.to = \"nobody\"", "writes.to: must not be \"nobody\"; write \"owner\" or \"local\""),
        (
            "writes.failover = \"auto\"",
            "writes.failover: must not be \"auto\"; write \"manual\", \"automatic\" or \"never\"",
        ),
        ("retries.attempts = 0", "retries.attempts: must be a whole number from 1 to 10, not 0"),
        ("retries.attempts = 11", "retries.attempts: must be a whole number from 1 to 10, not 11"),
        ("retries.budget = 101", "retries.budget: must be a whole number from 0 to 100, not 101"),
        (
            "retries.on = [\"404\"]",
            "retries.on[0]: \"404\" cannot be tried again; write \"connect\", \"reset\", \"429\" or a status from \"500\" to \"599\"",
        ),
        (
            "retries.on = [503]",
            "retries.on[0]: must be \"connect\", \"reset\" or a status in quotes such as \"503\", not 503",
        ),
    ] {
        assert_eq!(wrong(&format!("[policies.p]\n{key}")), format!("line 9, policies.p.{message}"), "{key}");
    }
}
