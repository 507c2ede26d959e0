//! The world of the drills, and what must hold in it whatever breaks.
//!
//! `acme` and `bank` live in `eu-west-1`, where the edge stands: `acme` is readable in `us-east-1` too, `bank` may not
//! leave the EU. `globex` lives in `us-east-1` and is the one that no fault of `eu-west-1` may touch.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::harness::{Edge, EdgeBuilder, Faulty, Place, Routing, Toy, edge, eventually, now};
use crate::load::{Kind, Load, Seen, load};

/// The epoch of every tenant here.
pub const EPOCH: &str = "7";

/// A region's interval of checks where the time to recover matters, as in production.
pub const EVERY_SECOND: &str = r#"{ interval = "1s", timeout = "1s", rise = 2, fall = 3 }"#;

/// The same, five times as often, where only the order matters.
pub const FAST: &str = r#"{ interval = "200ms", timeout = "1s", rise = 2, fall = 3 }"#;

/// The longest that a dead region goes unnoticed under [`EVERY_SECOND`].
pub const DETECTION: Duration = Duration::from_secs(4);

/// What a loaded machine may add to a time that is judged.
pub const LATITUDE: Duration = Duration::from_secs(3);

/// The timeout of every request here.
pub const DEADLINE: Duration = Duration::from_secs(2);

/// The tables's tenants over these two regions.
pub fn routing(eu: &dyn Place, us: &dyn Place) -> Routing {
    Routing::of(&[eu, us])
        .every_region("health", EVERY_SECOND)
        .and(&format!("[policies.default]\ntimeout = \"{}s\"", DEADLINE.as_secs()))
        .tenant("acme", &format!(r#"home = "eu-west-1", replicas = ["us-east-1"], epoch = {EPOCH}"#))
        .tenant("bank", &format!(r#"home = "eu-west-1", residency = ["eu"], epoch = {EPOCH}"#))
        .tenant("globex", &format!(r#"home = "us-east-1", epoch = {EPOCH}"#))
}

/// An edge over such a table.
pub fn over(routing: &Routing) -> EdgeBuilder {
    edge(routing).set("limits", "drain_timeout = \"2s\"")
}

/// Two readers and two writers of `acme`, a writer of `bank`, and the victim.
pub fn usual(edge: &Edge) -> Load {
    load(edge.address()).readers(2, "acme").writers(2, "acme").writers(1, "bank").victim("globex")
}

/// One write that a region executed.
pub struct Executed {
    pub id: Option<String>,
    pub tenant: Option<String>,
    pub epoch: Option<String>,
}

/// What a region has seen.
pub trait Origin {
    /// Its name.
    fn name(&self) -> String;
    /// The writes that it executed.
    fn executed(&self) -> Vec<Executed>;
    /// The tenants whose requests came to it.
    fn tenants(&self) -> Vec<String>;
}

impl Origin for Toy {
    fn name(&self) -> String {
        self.called()
    }
    fn executed(&self) -> Vec<Executed> {
        let done = self.executions().into_iter();
        done.map(|done| Executed { id: done.id, tenant: done.tenant, epoch: done.owner_epoch }).collect()
    }
    fn tenants(&self) -> Vec<String> {
        self.tenants_seen()
    }
}

impl Origin for Faulty {
    fn name(&self) -> String {
        self.called()
    }
    fn executed(&self) -> Vec<Executed> {
        let whole = self.requests().into_iter().filter(|seen| seen.whole && seen.method != "GET");
        whole.map(|seen| Executed { id: seen.id, tenant: seen.tenant, epoch: seen.epoch }).collect()
    }
    fn tenants(&self) -> Vec<String> {
        self.requests().into_iter().filter_map(|seen| seen.tenant).collect()
    }
}

/// Who owns a tenant of the usual table.
fn owner(tenant: &str) -> &'static str {
    if tenant == "globex" { "us-east-1" } else { "eu-west-1" }
}

/// What must hold after every drill, by the logs of clients and regions.
///
/// I1: no write at a region that does not own the tenant, at the epoch in force. I2: nothing of `bank` outside the EU.
/// I3: every acknowledged write done exactly once, no write twice. I7: no request outlives its deadline by more than
/// a second, and what a loaded machine may add. I9: the untouched tenant saw no error.
#[track_caller]
pub fn check(seen: &Seen, origins: &[&dyn Origin]) {
    check_within(seen, origins, DEADLINE);
    let errors: Vec<_> = seen.of(Kind::Victim).filter(|event| !event.is_good()).take(3).collect();
    assert!(errors.is_empty(), "I9, an untouched tenant saw an error: {errors:#?}");
    assert!(seen.of(Kind::Victim).count() > 3, "the victim hardly asked");
}

/// The same, but for the untouched tenant, where requests have `deadline`.
#[track_caller]
pub fn check_within(seen: &Seen, origins: &[&dyn Origin], deadline: Duration) {
    let mut executions: BTreeMap<String, usize> = BTreeMap::new();
    for origin in origins {
        for done in origin.executed() {
            let (tenant, id) = (done.tenant.expect("a tenant"), done.id.expect("an id"));
            assert_eq!(
                origin.name(),
                owner(&tenant),
                "I1, a write of {tenant} at a region that is not its owner"
            );
            assert_eq!(done.epoch.as_deref(), Some(EPOCH), "I1, a write of {tenant} at another epoch");
            *executions.entry(id).or_default() += 1;
        }
        let strays = origin.name() != "eu-west-1" && origin.tenants().iter().any(|tenant| tenant == "bank");
        assert!(!strays, "I2, a request of bank reached {}", origin.name());
    }
    for (id, times) in &executions {
        assert_eq!(*times, 1, "I3, the write {id} was done {times} times");
    }
    for event in seen.events.iter().filter(|event| event.is_good()) {
        if let Some(id) = &event.id {
            assert!(executions.contains_key(id), "I3, the acknowledged write {id} was never done: {event:?}");
        }
    }
    let slowest = seen.slowest(|_| true);
    assert!(slowest <= deadline + Duration::from_secs(1) + LATITUDE, "I7, a request took {slowest:?}");
}

/// What a process holds: files, memory in kibibytes.
#[derive(Clone, Copy, Debug)]
pub struct Held {
    pub files: usize,
    pub memory: u64,
}

impl Held {
    /// By this edge, now.
    pub fn by(edge: &Edge) -> Held {
        let files = std::fs::read_dir(format!("/proc/{}/fd", edge.pid())).unwrap().count();
        Held { files, memory: edge.figure("VmRSS") }
    }

    /// I8: waits until the edge holds no more than `files` and `memory` above this.
    #[track_caller]
    pub fn is_back(self, edge: &Edge, files: usize, memory: u64) -> Held {
        let began = now();
        eventually("files and memory are given back", || {
            let held = Held::by(edge);
            let back = held.files <= self.files + files && held.memory <= self.memory + memory;
            assert!(back || began.elapsed() < Duration::from_secs(25), "{self:?} became {held:?}");
            back
        });
        Held::by(edge)
    }
}

/// The time that an edge has spent on the processors.
pub fn processor_time(edge: &Edge) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", edge.pid())).unwrap();
    let after_name = stat.rsplit_once(") ").unwrap().1;
    let ticks = after_name.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap());
    Duration::from_millis(ticks.sum::<u64>() * 10)
}
