//! What requests tell the steward of endpoints: failures in a row, and their end.
//!
//! Never: makes a request wait. When the steward is behind, a report is dropped and counted.

use std::net::SocketAddr;

use tokio::sync::mpsc;

/// What traffic saw of one endpoint.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// The region's name.
    pub region: Box<str>,
    /// The endpoint.
    pub address: SocketAddr,
    /// Connect failures, resets and timeouts in a row; 0: a success ended the row, or a trial.
    pub failures: u32,
}

/// Sends outcomes; one for each request adapter.
#[derive(Clone)]
pub struct Outcomes(mpsc::Sender<Outcome>);

impl Outcomes {
    /// A sender, and the receiver for the steward, that hold `size` reports between them.
    #[must_use]
    pub fn channel(size: usize) -> (Self, mpsc::Receiver<Outcome>) {
        let (sender, receiver) = mpsc::channel(size);
        (Self(sender), receiver)
    }

    /// Tells that `in_a_row` attempts at an endpoint have failed; false when the report was dropped.
    #[must_use]
    pub fn failed(&self, region: &str, address: SocketAddr, in_a_row: u32) -> bool {
        self.0.try_send(Outcome { region: region.into(), address, failures: in_a_row.max(1) }).is_ok()
    }

    /// Tells that a row of failures, or a trial, ended well; false when the report was dropped.
    #[must_use]
    pub fn succeeded(&self, region: &str, address: SocketAddr) -> bool {
        self.0.try_send(Outcome { region: region.into(), address, failures: 0 }).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_channel_drops_and_says_so() {
        let (outcomes, mut received) = Outcomes::channel(1);
        let address = SocketAddr::from(([127, 0, 0, 1], 80));
        assert!(outcomes.failed("eu", address, 3) && !outcomes.succeeded("eu", address));
        assert_eq!(received.try_recv().unwrap(), Outcome { region: "eu".into(), address, failures: 3 });
    }
}
