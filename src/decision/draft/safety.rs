//! What every change obeys, held against the regions that there are.

use super::faults::Faults;
use crate::table::Safety;

pub(super) fn safety(written: Safety, regions: usize, faults: &mut Faults) -> Safety {
    if written.min_regions_serving as usize > regions {
        let what = format!("{} regions must serve, and there are {regions}", written.min_regions_serving);
        faults.tell(&["safety", "min_regions_serving"], what, format!("write {regions} or less"));
    }
    for (key, share) in
        [("max_drained_share", written.max_drained_share), ("max_moved_share", written.max_moved_share)]
    {
        if !(0.0..=1.0).contains(&share) {
            faults.tell(&["safety", key], format!("{share} is not a share"), "write 0.0 to 1.0".into());
        }
    }
    written
}
