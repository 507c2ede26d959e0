//! Regions of the lab, on a runtime that all tests of the process share.

use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::LazyLock;
use std::time::Duration;

use rhumb::lab::{FaultRegion, RunningFaultRegion, RunningRegion, ToyRegion};
use socket2::{Domain, Socket, Type};
use tokio::runtime::{Builder, Runtime};

pub(super) static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap());

/// Something with a name and addresses: what a table calls a region.
pub trait Place {
    /// Its name.
    fn called(&self) -> String;
    /// Its endpoints.
    fn endpoints(&self) -> Vec<SocketAddr>;
}

/// A toy region that runs; its controls and counters are those of the lab.
pub struct Toy(RunningRegion);

/// A fault region that runs.
pub struct Faulty(RunningFaultRegion);

/// A toy region with one endpoint.
pub fn toy(name: &str) -> Toy {
    toy_from(ToyRegion::new(name))
}

/// A toy region as described.
pub fn toy_from(region: ToyRegion) -> Toy {
    Toy(RUNTIME.block_on(region.start()).unwrap())
}

/// A region that commits faults on cue.
pub fn faulty(name: &str) -> Faulty {
    Faulty(RUNTIME.block_on(FaultRegion::new(name).start()).unwrap())
}

/// The usual three, each following the others without lag: `eu-west-1`, `us-east-1`, `ap-southeast-1`.
pub fn lab() -> (Toy, Toy, Toy) {
    let three = (toy("eu-west-1"), toy("us-east-1"), toy("ap-southeast-1"));
    let all = [&three.0, &three.1, &three.2];
    for region in all {
        for source in all.iter().filter(|source| source.name() != region.name()) {
            region.replicate_from(source, Duration::ZERO);
        }
    }
    three
}

impl Toy {
    /// Cuts every connection and refuses new ones.
    pub fn go_dark(&self) {
        RUNTIME.block_on(self.0.go_dark()).unwrap();
    }

    /// Listens again.
    pub fn come_back(&self) {
        RUNTIME.block_on(self.0.come_back()).unwrap();
    }

    /// The same for one endpoint.
    pub fn go_dark_at(&self, endpoint: SocketAddr) {
        RUNTIME.block_on(self.0.go_dark_at(endpoint)).unwrap();
    }

    /// Brings one endpoint back.
    pub fn come_back_at(&self, endpoint: SocketAddr) {
        RUNTIME.block_on(self.0.come_back_at(endpoint)).unwrap();
    }
}

impl Faulty {
    /// Cuts every connection and refuses new ones.
    pub fn go_dark(&self) {
        RUNTIME.block_on(self.0.go_dark()).unwrap();
    }

    /// Listens again.
    #[allow(dead_code, reason = "the drills say more than the stories")]
    pub fn come_back(&self) {
        RUNTIME.block_on(self.0.come_back()).unwrap();
    }
}

impl Deref for Toy {
    type Target = RunningRegion;
    fn deref(&self) -> &RunningRegion {
        &self.0
    }
}

impl Deref for Faulty {
    type Target = RunningFaultRegion;
    fn deref(&self) -> &RunningFaultRegion {
        &self.0
    }
}

impl Place for Toy {
    fn called(&self) -> String {
        self.name().to_owned()
    }
    fn endpoints(&self) -> Vec<SocketAddr> {
        self.addresses().to_vec()
    }
}

impl Place for Faulty {
    fn called(&self) -> String {
        self.name().to_owned()
    }
    fn endpoints(&self) -> Vec<SocketAddr> {
        vec![self.address()]
    }
}

/// An address where nobody listens: its port is held for as long as the process runs, and refuses.
pub fn nobody() -> SocketAddr {
    let port = Box::leak(Box::new(Socket::new(Domain::IPV4, Type::STREAM, None).unwrap()));
    port.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    port.local_addr().unwrap().as_socket().unwrap()
}

/// A region of this name at an address that somebody else looks after.
impl Place for (&str, SocketAddr) {
    fn called(&self) -> String {
        self.0.to_owned()
    }
    fn endpoints(&self) -> Vec<SocketAddr> {
        vec![self.1]
    }
}
