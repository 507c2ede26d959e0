//! The drills of the lab, in the order in which they are done.
//!
//! Never: one that judges itself. What it says beforehand, and what clients and regions wrote down, is judged by `checks`.

mod ownership;
mod regions;

use super::attempt::{Attempt, Went};

/// What is done in one drill.
#[derive(Clone, Copy)]
pub struct Drill {
    /// Its name, and that of the tenant under test.
    pub name: &'static str,
    /// What is expected to hold.
    pub hypothesis: &'static str,
    /// The keys of that tenant in the table.
    pub tenant: &'static str,
    /// What stands before the regions.
    pub stage: Stage,
    /// Does it, while clients are at work.
    pub run: fn(&mut Attempt<'_>) -> Went,
}

/// What stands before the lab's regions.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The one edge that all drills share.
    OneEdge,
    /// Two edges of its own that know nothing of each other, and gateways.
    TwoEdges,
}

/// At home where the edge stands, with somebody to take over.
const USUAL: &str = r#"home = "eu-west-1", standby = ["us-east-1"]"#;

/// All of them.
pub const DRILLS: &[Drill] = &[
    Drill {
        name: "region-dead",
        hypothesis: "a region that refuses connections costs reads nothing: they are answered elsewhere at once. Writes \
            of its tenants are refused until it is back, and go nowhere else",
        tenant: USUAL,
        stage: Stage::OneEdge,
        run: regions::dead,
    },
    Drill {
        name: "region-black-holed",
        hypothesis: "a region that accepts and never answers costs what is on its way there until it is noticed; then \
            reads are answered elsewhere, and writes are refused. No write is sent twice",
        tenant: USUAL,
        stage: Stage::OneEdge,
        run: regions::black_holed,
    },
    Drill {
        name: "writes-broken",
        hypothesis: "a region whose writes are broken goes on answering reads; writes are refused and go nowhere else",
        tenant: USUAL,
        stage: Stage::OneEdge,
        run: regions::writes_broken,
    },
    Drill {
        name: "replication-lag",
        hypothesis: "a copy that lags answers reads only as far as its policy allows; clients who wrote read their own \
            writes all the while; a standby that lags gets no ownership",
        tenant: r#"home = "us-east-1", standby = ["eu-west-1"]"#,
        stage: Stage::OneEdge,
        run: regions::replication_lag,
    },
    Drill {
        name: "planned-transfer",
        hypothesis: "ownership moves to and fro under writes, each time under a higher epoch, at the cost of a pause: no \
            client sees an error, and no write is done at the old owner after the new one has begun",
        tenant: USUAL,
        stage: Stage::OneEdge,
        run: ownership::planned_transfer,
    },
    Drill {
        name: "unplanned-failover",
        hypothesis: "where the owner is gone, a planned transfer is refused and an unplanned one moves its tenant at \
            once; what the owner had acknowledged and not copied may be lost, and the audit says so; the old owner \
            returns and owns nothing",
        tenant: USUAL,
        stage: Stage::OneEdge,
        run: ownership::unplanned_failover,
    },
    Drill {
        name: "failback",
        hypothesis: "a region that returns gets its tenants back only once it has caught up, in waves, and no client sees \
            an error",
        tenant: USUAL,
        stage: Stage::OneEdge,
        run: ownership::failback,
    },
    Drill {
        name: "flapping",
        hypothesis: "a region whose health comes and goes changes state no more often than it flaps, moves no ownership \
            even where that may move by itself after a minute, and costs reads nothing",
        tenant: r#"home = "eu-west-1", standby = ["us-east-1"], policy = "automatic""#,
        stage: Stage::OneEdge,
        run: regions::flapping,
    },
    Drill {
        name: "split-brain",
        hypothesis: "an edge that was not told of a move is stopped by the gateway of the old owner, learns, and its clients \
            see no error. A table that gives the epoch in force to another owner is refused while an edge runs; one \
            that starts with it stops the tenant's writes there until an operator says who owns it",
        tenant: r#"home = "eu-west-1", epoch = 1, standby = ["us-east-1"]"#,
        stage: Stage::TwoEdges,
        run: ownership::split_brain,
    },
];
