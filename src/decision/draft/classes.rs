//! Classes of data, and which regions lie where they may be.

use super::faults::Faults;
use crate::table::{DataClass, Region};
use crate::units::{RegionId, RegionSet};

pub(super) fn class(
    name: String,
    written: Vec<String>,
    regions: &[Region],
    faults: &mut Faults,
) -> DataClass {
    let known = jurisdictions(regions);
    if written.is_empty() {
        let what = "the class allows no jurisdiction".into();
        faults.tell(
            &["data_classes", &name, "jurisdictions"],
            what,
            "name one, or leave the class out".into(),
        );
    }
    for (i, jurisdiction) in written.iter().enumerate() {
        if !known.contains(jurisdiction) {
            let place = ["data_classes", name.as_str(), "jurisdictions", &i.to_string()];
            faults.no_such(&place, "jurisdiction", jurisdiction, &known);
        }
    }
    let jurisdictions: Box<[Box<str>]> = written.into_iter().map(String::into_boxed_str).collect();
    DataClass { name: name.into(), allowed: within(regions, &jurisdictions), jurisdictions }
}

/// The jurisdictions that regions lie in, each once, in order.
pub(super) fn jurisdictions(regions: &[Region]) -> Vec<String> {
    let mut all: Vec<String> = regions.iter().map(|region| region.jurisdiction.to_string()).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// The regions that lie in one of `jurisdictions`.
pub(super) fn within(regions: &[Region], jurisdictions: &[Box<str>]) -> RegionSet {
    let ids = (0_u8..).zip(regions);
    ids.filter(|(_, region)| jurisdictions.contains(&region.jurisdiction))
        .map(|(id, _)| RegionId(id))
        .collect()
}
