//! Toy regions: real HTTP servers on loopback, for `rhumb demo` and the tests.
//!
//! A [`ToyRegion`] is a small key-value service that replicates to its neighbours, reports its health,
//! echoes what it received and keeps count of what it executed. A [`FaultRegion`] is one that breaks the
//! protocol on cue. A [`Lab`] is a few toy regions that follow each other.
//!
//! Never: knows Rhumb. It reads headers by their documented names, as any region would, so what it sees
//! is what a real region would have seen. It leaves nothing behind: all its tasks end with their handle.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::Instant;

mod bodies;
mod door;
mod echo;
mod fault;
mod grpc;
mod ledger;
mod region;
mod replication;
mod script;
mod service;
mod state;
mod store;
mod tasks;
#[cfg(test)]
mod testing;
mod websocket;
mod wire;

pub use fault::{FaultRegion, HealthAnswer, RunningFaultRegion};
pub use ledger::{Ledger, Recorded, SeenRequest};
pub use region::{Protocols, RunningRegion, ToyRegion};
pub use script::{Fault, Then, WrongFraming};
pub use state::{Execution, RegionState, Status, Tells};

/// Why a lab could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// The address is taken, or not this machine's.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// Two regions of one lab have the same name.
    #[error("there are two regions named {name:?}; give each its own name")]
    Twice {
        /// The name.
        name: String,
    },
}

/// A few regions that replicate to each other.
pub struct Lab {
    regions: Vec<RunningRegion>,
}

impl Lab {
    /// The usual three: `eu-west-1`, `us-east-1` and `ap-southeast-1`, each with one endpoint on a free
    /// port of loopback.
    pub fn three() -> Vec<ToyRegion> {
        ["eu-west-1", "us-east-1", "ap-southeast-1"].into_iter().map(ToyRegion::new).collect()
    }

    /// Starts `regions`, each following all others without lag.
    ///
    /// - Errors: an address that cannot be had, or a name used twice; nothing keeps running then.
    pub async fn start(regions: Vec<ToyRegion>) -> Result<Lab, LabError> {
        let mut running: Vec<RunningRegion> = Vec::new();
        for region in regions {
            if running.iter().any(|other| other.name() == region.name()) {
                return Err(LabError::Twice { name: region.name().to_owned() });
            }
            running.push(region.start().await?);
        }
        let now = Instant::now();
        for region in &running {
            for source in running.iter().filter(|source| source.name() != region.name()) {
                region.state().follow(&source.state(), Duration::ZERO, now);
            }
        }
        Ok(Lab { regions: running })
    }

    /// The regions, in the order they were given.
    pub fn regions(&self) -> &[RunningRegion] {
        &self.regions
    }

    /// The region of that name, if there is one.
    pub fn region(&self, name: &str) -> Option<&RunningRegion> {
        self.regions.iter().find(|region| region.name() == name)
    }

    /// How far every region stays behind every other.
    pub fn set_lag(&self, lag: Duration) {
        self.regions.iter().for_each(|region| region.set_lag(lag));
    }

    /// Stops every region and waits until all is closed. Dropping the lab stops it too, without waiting.
    pub async fn stop(self) {
        for region in self.regions {
            region.stop().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_write_to_one_region_is_read_at_the_others_with_its_position() {
        let lab = Lab::start(Lab::three()).await.unwrap();
        let eu = lab.region("eu-west-1").unwrap();
        let wrote = testing::ask(eu.address(), "PUT", "/kv/color", &[("X-Tenant-ID", "acme")], b"blue").await;
        assert_eq!(wrote.status, 201);
        let position = wrote.header("x-write-position").unwrap().to_owned();
        for other in ["us-east-1", "ap-southeast-1"] {
            let other = lab.region(other).unwrap();
            testing::eventually(async || {
                let read =
                    testing::ask(other.address(), "GET", "/kv/color", &[("X-Tenant-ID", "acme")], b"").await;
                read.json["value"] == "blue"
                    && read.json["written_by"] == "eu-west-1"
                    && read.json["position"] == position.as_str()
            })
            .await;
            let health = testing::ask(other.address(), "GET", "/health", &[], b"").await;
            assert_eq!(health.json["replication"]["eu-west-1"]["position"], position.as_str());
            let foreign = testing::ask(other.address(), "GET", "/kv/color", &[], b"").await;
            assert_eq!(
                foreign.json["value"],
                serde_json::Value::Null,
                "another tenant's value stays its own"
            );
        }
        lab.stop().await;
    }

    #[tokio::test]
    async fn two_regions_of_one_name_are_refused() {
        let twice = vec![ToyRegion::new("eu"), ToyRegion::new("eu")];
        let refused = Lab::start(twice).await.err().unwrap();
        assert_eq!(refused.to_string(), "there are two regions named \"eu\"; give each its own name");
    }

    #[tokio::test]
    async fn nothing_listens_after_a_stop() {
        let lab = Lab::start(Lab::three()).await.unwrap();
        let addresses: Vec<_> = lab.regions().iter().map(RunningRegion::address).collect();
        lab.stop().await;
        for address in addresses {
            let refused = tokio::net::TcpStream::connect(address).await.unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        }
    }
}
