use super::*;
use wasmtime::{Engine, Memory, MemoryType, Store};

const MIB: usize = 1 << 20;

/// A spare of so many MiB, and when it came.
fn spare(mib: usize) -> Spare {
    let mut store = Store::new(&Engine::default(), ());
    let memory = Memory::new(&mut store, MemoryType::new(16 * mib as u32, None)).expect("a memory");
    let start = memory.data_mut(&mut store).as_mut_ptr().expose_provenance();
    let place = Place::within(start..start + mib * MIB).expect("whole pages");
    Spare::from_guest(&place).expect("its pages")
}

#[test]
fn the_smallest_is_taken_that_is_large_enough_or_else_the_largest() {
    let (mut shelf, now) = (Shelf::default(), Instant::now());
    for mib in [8, 32, 16] {
        assert!(shelf.put(spare(mib), now).is_empty());
    }
    let mut take = |mib: usize| shelf.take(mib * MIB).map(|spare| spare.len() / MIB);
    assert_eq!((take(9), take(64), take(1), take(1)), (Some(16), Some(32), Some(8), None));
}

#[test]
fn no_more_is_kept_than_is_allowed_and_nothing_for_nobody() {
    let (mut shelf, now) = (Shelf::default(), Instant::now());
    let sizes = |spares: Vec<Spare>| spares.iter().map(|s| s.len() / MIB).collect::<Vec<_>>();
    assert_eq!(sizes(shelf.put(spare(64), now)), [0; 0]);
    assert_eq!(sizes(shelf.put(spare(48), now)), [0; 0]);
    assert_eq!(sizes(shelf.put(spare(32), now)), [64]);
    assert_eq!(sizes(shelf.put(spare(129), now)), [48, 32, 129], "it is too large itself");
    assert_eq!(sizes(shelf.put(spare(4), now)), [0; 0]);
    assert_eq!(sizes(shelf.put(spare(5), now + PATIENCE + Duration::from_secs(1))), [4]);
}

#[test]
fn only_what_was_used_is_kept() {
    let mut store = Store::new(&Engine::default(), ());
    let memory = Memory::new(&mut store, MemoryType::new(16 * 16, None)).expect("a memory");
    let start = memory.data_mut(&mut store).as_mut_ptr().expose_provenance();
    let growth = || Growth::to(start..start + 8 * MIB);
    // Others use the same shelf: nothing is said of what is on it.
    drop(growth());
    assert!(Growth::to(start..start + LARGE - 1).is_none(), "that is small");
    let grown = growth().expect("large");
    memory.data_mut(&mut store)[..8 * MIB].fill(1);
    assert!(is_used(&grown.place));
    drop(grown);
    assert!(memory.data(&store)[..8 * MIB].iter().all(|byte| *byte == 0), "its pages were taken");
    let grown = growth().expect("large");
    assert!(memory.data(&store)[..8 * MIB].iter().all(|byte| *byte == 0), "not what was written");
    drop(grown);
}
