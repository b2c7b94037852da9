//! How many residents there may be.
//!
//! Owns: what the operator allows, held against the mappings that the system gives a process.
//! Invariant: as many as are allowed leave mappings for everything else that a slave does.

use crate::limits::Limits;
use dpfw_protocol::error::Cause;

/// How many there may be, and what it is that allows no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Allowed {
    pub(super) most: usize,
    by: &'static str,
}

/// Mappings that an idle resident takes: of a pooled memory the part before its image, the image,
/// its heap behind that, and what is beyond it. A test counts them.
pub(super) const MAPPINGS_EACH: usize = 4;

/// Mappings for everything else: the pools of slots and of sandboxes that wait, whose memories
/// have as many each, two for each stack, some for each module in each engine, threads, libraries.
const MAPPINGS_ELSE: usize = 16 << 10;

/// What Linux gives a process unless it is told otherwise.
const MAPPINGS: usize = 65_530;

impl Allowed {
    /// What the operator and this system allow.
    pub(super) fn of(limits: &Limits) -> Self {
        let read = std::fs::read_to_string("/proc/sys/vm/max_map_count");
        let mappings = read.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(MAPPINGS);
        Self::within(limits.residents, mappings)
    }

    fn within(residents: usize, mappings: usize) -> Self {
        let fit = mappings.saturating_sub(MAPPINGS_ELSE) / MAPPINGS_EACH;
        match residents <= fit {
            true => Self { most: residents, by: "residents" },
            false => Self { most: fit, by: "mappings (vm.max_map_count)" },
        }
    }

    /// There are as many as there may be, or as there may be of one who has so many.
    pub(super) fn lack(&self, own: u64) -> Cause {
        let Self { most, by } = self;
        let what = format!(
            "the slave may have {most} residents, the limit on {by}; this master has {own}, and \
             what is left is for others"
        );
        Cause::Busy { what }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f60_what_the_system_has_no_mappings_for_is_not_allowed() {
        let usual = Allowed::within(10_000, MAPPINGS);
        assert_eq!(usual, Allowed { most: 10_000, by: "residents" });
        let more = Allowed::within(100_000, MAPPINGS);
        assert_eq!(more, Allowed { most: 12_286, by: "mappings (vm.max_map_count)" });
        assert!(more.lack(0).to_string().contains("limit on mappings (vm.max_map_count)"));
        assert_eq!(Allowed::within(10, 1000).most, 0, "what is reserved is not given away");
    }
}
