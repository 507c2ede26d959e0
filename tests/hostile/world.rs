//! The setting of the corpus: an edge in `eu`, two recording regions, a victim; and the check that all is as it was.

use std::cell::Cell;
use std::net::SocketAddr;

use serde_json::Value;

use super::harness::folder::Folder;
use super::harness::metrics::Metrics;
use super::harness::{Edge, EdgeBuilder, PATIENCE, Routing, Wire, edge, get, now, post};
use super::origin::{MOMENT, Origin, Seen, What};
use super::victim::Victim;

/// The token of the corpus.
pub const GOOD: &str = "good";

/// Epochs of the two tenants.
const EPOCHS: [(&str, &str, &str); 2] = [("t1", "eu", "7"), ("t2", "us", "9")];

/// An edge between two regions.
pub struct World {
    /// First, so that it has gone before the edge goes.
    victim: Victim,
    /// The real binary.
    pub edge: Edge,
    /// Where it stands.
    pub eu: Origin,
    /// The other one.
    pub us: Origin,
    /// Files it has open besides its connections to regions.
    files: usize,
    /// Kibibytes once it was warm.
    memory: u64,
    checks: Cell<u32>,
}

/// What was there before a row.
pub struct Before {
    seen: [usize; 2],
    logged: usize,
    /// The table in force.
    pub table: Value,
    metrics: Metrics,
}

/// What a row brought to the regions, the test's own requests left out.
pub struct Reached {
    /// To `eu`.
    pub eu: Vec<Seen>,
    /// To `us`.
    pub us: Vec<Seen>,
}

impl World {
    /// Starts one.
    pub fn start() -> World {
        World::with(|edge| edge)
    }

    /// Starts one with further settings.
    pub fn with(settings: impl FnOnce(EdgeBuilder) -> EdgeBuilder) -> World {
        let (eu, us) = (Origin::start("eu"), Origin::start("us"));
        let edge = edge(&routing(&eu, &us))
            .set("edge", "region = \"eu\"")
            .set("admin", "token_file = \"good.token\"")
            .file("good.token", GOOD);
        let edge = settings(edge).start();
        let victim = Victim::of(edge.address());
        let mut world = World { edge, eu, us, victim, files: 0, memory: 0, checks: Cell::new(0) };
        for _ in 0..20 {
            world.poison().unwrap();
        }
        // The victim's next connection may be open at any moment, and so may a check of health.
        world.files = (0..50)
            .map(|_| {
                std::thread::sleep(MOMENT / 25);
                world.files_besides()
            })
            .max()
            .unwrap();
        world.memory = world.edge.figure("VmRSS");
        world
    }

    /// Notes how things are.
    pub fn before(&self) -> Before {
        let logged = self.access_log().len();
        let seen = [self.eu.count(), self.us.count()];
        Before { seen, logged, table: self.table(), metrics: self.edge.metrics() }
    }

    /// The table in force, as the administration tells it; its generation counts changes of health too.
    pub fn table(&self) -> Value {
        let mut table = self.edge.read("/v1/table");
        table["generation"].take();
        table
    }

    /// The record that the access log has of a row; the test's own requests are left out.
    pub fn record(&self, before: &Before) -> Result<Value, String> {
        let began = now();
        loop {
            let log = self.access_log();
            let whole = log[before.logged..].lines().filter(|line| line.ends_with('}'));
            let records =
                whole.map(|line| serde_json::from_str::<Value>(line).map_err(|e| format!("{e}: {line}")));
            let mut records = records.collect::<Result<Vec<_>, _>>()?;
            records.retain(|record| !is_ours(record["path"].as_str().unwrap_or_default()));
            match records.len() {
                1 => return Ok(records.remove(0)),
                0 if began.elapsed() < PATIENCE => std::thread::sleep(MOMENT / 25),
                _ => {
                    return Err(format!("{} records in the access log, not one: {records:?}", records.len()));
                }
            }
        }
    }

    /// The access log so far.
    pub fn access_log(&self) -> String {
        std::fs::read_to_string(self.edge.folder().file("access.log")).unwrap_or_default()
    }

    /// What reached the regions since.
    pub fn reached(&self, before: &Before) -> Reached {
        Reached { eu: foreign(&self.eu, before.seen[0]), us: foreign(&self.us, before.seen[1]) }
    }

    /// By how much a metric has grown since.
    pub fn grown(&self, before: &Before, after: &Metrics, name: &str, labels: &[(&str, &str)]) -> f64 {
        after.sum(name, labels) - before.metrics.sum(name, labels)
    }

    /// The poison check: ordinary requests on new and on used connections get their own answers from the right region.
    pub fn poison(&self) -> Result<(), String> {
        let nth = self.checks.replace(self.checks.get() + 1);
        let mut wire = Wire::to(self.edge.address());
        let target = |what: &str| format!("/poison/{nth}/{what}");
        let mut connections = Vec::new();
        for (what, ask, region) in [
            ("read", get("t1.example.test", &target("read")), "eu"),
            ("write", post("t1.example.test", &target("write")), "eu"),
            ("away", post("t2.example.test", &target("away")), "us"),
        ] {
            wire.send(ask.bytes());
            let answer = wire.answer_to("GET").ok_or(format!("poison check, {what}: no answer"))?;
            let told = || format!("poison check, {what}: {} {}", answer.status, answer.text());
            if answer.status != 200 {
                return Err(told());
            }
            let json = answer.json();
            if json["region"] != region || json["target"] != target(what).as_str() {
                return Err(told());
            }
            connections.push(json["connection"].as_u64());
        }
        Ok(())
    }

    /// Whether all is as it was.
    pub fn sound(&mut self) -> Result<(), String> {
        self.poison()?;
        if let Some(error) = self.victim.errors().first() {
            return Err(format!("the victim noticed: {error}"));
        }
        if !self.edge.is_alive() {
            return Err("the process has ended".to_owned());
        }
        if self.edge.log().contains("panicked") {
            return Err("it panicked".to_owned());
        }
        let began = now();
        while self.files_besides() > self.files {
            if began.elapsed() > PATIENCE {
                return Err(format!("{} files are open, before: {}", self.files_besides(), self.files));
            }
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        Ok(())
    }

    /// By how many kibibytes it has grown, and how often the victim has asked.
    pub fn summary(&self) -> (i64, u64) {
        (self.edge.figure("VmRSS") as i64 - self.memory as i64, self.victim.asked())
    }

    /// Stops the victim, then the edge, in order.
    pub fn stop(self) -> Folder {
        drop(self.victim);
        self.edge.stop()
    }

    /// Where requests go, and where the administration listens.
    pub fn addresses(&self) -> (SocketAddr, SocketAddr) {
        (self.edge.address(), self.edge.admin)
    }

    fn files_besides(&self) -> usize {
        let files = std::fs::read_dir(format!("/proc/{}/fd", self.edge.pid())).map_or(0, Iterator::count);
        files.saturating_sub(self.eu.live() + self.us.live())
    }
}

/// The table of the corpus.
pub fn routing(eu: &Origin, us: &Origin) -> Routing {
    let from =
        r#"[{ host = "{tenant}.example.test" }, { header = "X-Tenant-ID" }, { path = "/t/{tenant}" }]"#;
    let mut routing = Routing::of(&[&("eu", eu.address), &("us", us.address)])
        .tenancy("from", from)
        .tenancy("unknown", "\"reject\"")
        .every_region("health", r#"{ check = "tcp", interval = "1s" }"#);
    for (tenant, home, epoch) in EPOCHS {
        let other = if home == "eu" { "us" } else { "eu" };
        routing =
            routing.tenant(tenant, &format!(r#"home = "{home}", replicas = ["{other}"], epoch = {epoch}"#));
    }
    routing
}

/// Owner and epoch of a tenant.
pub fn owner(tenant: &str) -> Option<(&'static str, &'static str)> {
    EPOCHS.iter().find(|(name, ..)| *name == tenant).map(|(_, home, epoch)| (*home, *epoch))
}

/// Whether a path is of a request that the test sends for its own sake.
fn is_ours(path: &str) -> bool {
    ["/victim/", "/poison/", "/prefix/"].iter().any(|begin| path.starts_with(begin))
}

/// What came to a region that the test did not send for its own sake.
fn foreign(origin: &Origin, count: usize) -> Vec<Seen> {
    let ours = |seen: &Seen| {
        let line = String::from_utf8_lossy(seen.what.raw()).into_owned();
        let path = line.split(' ').nth(1).unwrap_or_default();
        let known = is_ours(path);
        // One of the victim's that is on its way has a head that is not whole yet.
        known || (matches!(seen.what, What::Broken(..)) && b"GET /victim/".starts_with(seen.what.raw()))
    };
    origin.since(count).into_iter().filter(|seen| !ours(seen)).collect()
}
