//! Where masters put a resident that see the same slaves and do not know of one another.
//!
//! Invariant: the choice depends on nothing but the key and the slaves' names, whatever their
//! order.

use crate::home::Home;
use crate::slave::Linked;
use dpfw_protocol::store::Key;
use std::sync::Arc;

/// The slave that a key chooses among those that are linked: the one of the highest hash of both.
/// Masters that see the same slaves agree, and most keys stay where they are when slaves come and
/// go.
pub(super) fn agreed(home: &Home, key: &Key) -> Option<Arc<Linked>> {
    let weight = |linked: &Arc<Linked>| weight(key.as_str(), linked.hello.peer.as_str());
    home.slaves().into_iter().max_by_key(|linked| (weight(linked), linked.hello.peer.clone()))
}

/// FNV-1a, folded by the last step of MurmurHash3, for FNV mixes its last bytes little.
fn weight(key: &str, slave: &str) -> u64 {
    let bytes = key.bytes().chain([0]).chain(slave.bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let hash = (hash ^ hash >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let hash = (hash ^ hash >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ hash >> 33
}

#[cfg(test)]
mod tests {
    use super::weight;

    fn chosen(key: &str, slaves: &[&'static str]) -> &'static str {
        slaves.iter().copied().max_by_key(|slave| weight(key, slave)).expect("there are slaves")
    }

    #[test]
    fn a_key_chooses_the_same_slave_whatever_the_order_and_few_keys_move() {
        let (four, three) = (["a", "b", "c", "d"], ["d", "b", "a"]);
        let mut of_each = [0; 4];
        for key in (0..4000).map(|n| format!("key-{n}")) {
            let at = chosen(&key, &four);
            assert_eq!(at, chosen(&key, &["c", "d", "a", "b"]));
            assert!(at == "c" || at == chosen(&key, &three), "{key} need not have moved");
            of_each[four.iter().position(|slave| *slave == at).expect("one of them")] += 1;
        }
        assert!(of_each.iter().all(|n| (800..1200).contains(n)), "{of_each:?}");
    }
}
