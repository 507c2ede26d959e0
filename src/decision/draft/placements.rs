//! Placements: what was written, held against the names of regions.

use std::collections::BTreeMap;

use super::faults::Faults;
use super::names::Names;
use crate::table::{Placement, PlacementRule};
use crate::units::RegionId;

/// See [`PlacementRule`].
#[derive(Clone, Debug)]
pub enum PlacementDraft {
    /// The source region, then its near ones.
    Nearest,
    /// The lowest measured round trip.
    Latency,
    /// By country.
    Geo,
    /// Shares by name of region.
    Weighted(BTreeMap<String, u32>),
    /// Names of regions in order.
    Primary(Vec<String>),
    /// Hours from (inclusive) to (exclusive), with the name of a region and the key as it was written.
    Schedule(Vec<Hours>),
}

/// One span of a schedule.
#[derive(Clone, Debug)]
pub struct Hours {
    /// As it was written: `00-08`.
    pub written: String,
    /// The first hour, 0 to 23.
    pub from: u8,
    /// The hour at which it ends, 1 to 24.
    pub to: u8,
    /// The name of a region.
    pub region: String,
}

pub(super) fn placement(
    name: String,
    draft: PlacementDraft,
    names: &Names,
    faults: &mut Faults,
) -> Placement {
    let mut known = |key: &[&str], region: &str| {
        let id = names.region(region);
        if id.is_none() {
            let place: Vec<&str> =
                ["placements", name.as_str()].into_iter().chain(key.iter().copied()).collect();
            faults.no_such(&place, "region", region, &names.regions);
        }
        id
    };
    let by = match draft {
        PlacementDraft::Nearest => PlacementRule::Nearest,
        PlacementDraft::Latency => PlacementRule::Latency,
        PlacementDraft::Geo => PlacementRule::Geo,
        PlacementDraft::Weighted(shares) => {
            let total: u64 = shares.values().map(|share| u64::from(*share)).sum();
            let shares: Box<[_]> = shares
                .iter()
                .filter_map(|(region, share)| Some((known(&["shares", region], region)?, *share)))
                .collect();
            if total == 0 || total > u64::from(u32::MAX) {
                let fix = "write shares = { NAME = 70, OTHER = 30 }".into();
                faults.tell(&["placements", &name, "shares"], format!("the shares add up to {total}"), fix);
            }
            PlacementRule::Weighted(shares)
        }
        PlacementDraft::Primary(order) => {
            let ids: Box<[_]> = order
                .iter()
                .enumerate()
                .filter_map(|(i, region)| known(&["order", &i.to_string()], region))
                .collect();
            if order.is_empty() {
                let fix = "name at least one region".into();
                faults.tell(&["placements", &name, "order"], "the order is empty".into(), fix);
            }
            PlacementRule::Primary(ids)
        }
        PlacementDraft::Schedule(spans) => {
            let mut hours = [None; 24];
            let mut twice = Vec::new();
            for span in &spans {
                let Some(region) = known(&["hours", &span.written], &span.region) else { continue };
                for hour in span.from..span.to.min(24) {
                    if hours.get_mut(usize::from(hour)).is_some_and(|slot| slot.replace(region).is_some()) {
                        twice.push(span.written.clone());
                    }
                }
            }
            twice.dedup();
            for written in twice {
                let what = format!("{written:?} covers an hour that another span covers");
                faults.tell(&["placements", &name, "hours", &written], what, "cover each hour once".into());
            }
            let missing = hours.iter().position(Option::is_none);
            if let Some(hour) = missing {
                let what = format!("no span covers the hour {hour:02}");
                let fix = "cover all 24 hours, as in \"00-08\" and \"08-24\"".into();
                faults.tell(&["placements", &name, "hours"], what, fix);
            }
            PlacementRule::Schedule(Box::new(hours.map(|region| region.unwrap_or(RegionId(0)))))
        }
    };
    Placement { name: name.into(), by }
}
