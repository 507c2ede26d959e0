//! What of a DNS answer belongs to what was asked.

use std::net::IpAddr;
use std::time::Duration;

use hickory_resolver::lookup::Lookup;
use hickory_resolver::proto::rr::{Name, RData, Record};

/// Targets of a service that are looked up; of more, the first in order.
const MAX_TARGETS: usize = super::MAX_ADDRESSES;

/// The records of the asked name and of the names it is an alias of. Others prove nothing, whoever sent them.
pub(super) fn of_asked_name(lookup: &Lookup) -> Vec<&Record> {
    let mut names: Vec<&Name> = vec![lookup.query().name()];
    // Aliases come in any order; each turn of the loop finds one more, so there are no more turns than answers.
    for _ in lookup.answers() {
        let alias = lookup.answers().iter().find_map(|record| match &record.data {
            RData::CNAME(target) if names.contains(&&record.name) && !names.contains(&&target.0) => {
                Some(&target.0)
            }
            _ => None,
        });
        match alias {
            Some(alias) => names.push(alias),
            None => break,
        }
    }
    lookup.answers().iter().filter(|record| names.contains(&&record.name)).collect()
}

/// The shortest life of any of these records.
pub(super) fn lives(records: &[&Record]) -> Duration {
    Duration::from_secs(records.iter().map(|record| record.ttl).min().unwrap_or(0).into())
}

/// The addresses among these records.
pub(super) fn addresses(records: &[&Record]) -> Vec<IpAddr> {
    let address = |record: &&Record| match record.data {
        RData::A(address) => Some(IpAddr::V4(address.0)),
        RData::AAAA(address) => Some(IpAddr::V6(address.0)),
        _ => None,
    };
    records.iter().filter_map(address).collect()
}

/// The targets, with their ports, of the lowest priority among these records; sorted. A target of `.` says that the
/// service is not there.
pub(super) fn targets(records: &[&Record]) -> Vec<(Name, u16)> {
    let services = || {
        records.iter().filter_map(|record| match &record.data {
            RData::SRV(service) if !service.target.is_root() => Some(service),
            _ => None,
        })
    };
    let first = services().map(|service| service.priority).min();
    let mut targets: Vec<(Name, u16)> = services()
        .filter(|service| Some(service.priority) == first)
        .map(|service| (service.target.to_lowercase(), service.port))
        .collect();
    targets.sort();
    targets.dedup();
    targets.truncate(MAX_TARGETS);
    targets
}
