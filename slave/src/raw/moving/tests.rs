use super::*;
use dpfw_protocol::Bytes;
use dpfw_protocol::recycle::Recycler;
use wasmtime::{Engine, Memory, MemoryType, Store};

const MIB: usize = 1 << 20;

/// A guest's memory of so many MiB.
fn memory(mib: u64) -> (Store<()>, Memory) {
    let mut store = Store::new(&Engine::default(), ());
    let memory = Memory::new(&mut store, MemoryType::new(16 * mib as u32, None));
    (store, memory.expect("a memory"))
}

/// A payload as it arrives.
fn arrived(buffers: &Recycler, byte: u8, len: usize) -> Arrived {
    let mut buffer = buffers.take(len).expect("memory");
    buffer.bytes().extend(std::iter::repeat_n(byte, len));
    buffers.finish(buffer)
}

fn all(bytes: &[u8], expected: u8) -> bool {
    bytes.iter().all(|byte| *byte == expected)
}

#[test]
fn a_payload_is_lent_and_its_buffer_comes_back_however_often_and_however_long() {
    let (mut store, memory) = memory(8);
    let (page, buffers) = (rustix::param::page_size(), Recycler::default());
    // The largest first: the others fit where it was.
    let first = arrived(&buffers, 0, 2 * MIB);
    let buffer = first.as_ptr();
    drop(first);
    for round in 1..50u8 {
        let len = MIB + usize::from(round) * 7_919 % MIB;
        let mut payload = arrived(&buffers, round, len);
        assert_eq!(payload.as_ptr(), buffer, "round {round}: it is not the one that came back");
        let at = usize::from(round % 7) * 3 * page;
        let room = &mut memory.data_mut(&mut store)[at..at + len];
        let copied = usize::from(round % 3) * 5_000;
        let loan = Loan::of(&mut payload, room, copied).expect("they lie alike");
        assert!(payload.is_empty() && all(room, round), "round {round}: the guest has not got it");
        room.fill(0xff);
        drop(loan);
        // What was copied is the guest's own.
        let (first, last) = (copied.next_multiple_of(page), len / page * page);
        let data = memory.data_mut(&mut store);
        assert!(all(&data[at..at + first], 0xff) && all(&data[at + last..at + len], 0xff));
        assert!(all(&data[at + first..at + last], 0), "round {round}: the guest keeps some");
        data.fill(0);
    }
}

#[test]
fn what_else_is_in_the_last_page_is_not_lent() {
    let (mut store, memory) = memory(8);
    let buffers = Recycler::default();
    drop(arrived(&buffers, 9, 2 * MIB - 1));
    let mut payload = arrived(&buffers, 1, MIB + 10);
    let room = &mut memory.data_mut(&mut store)[..MIB + 10];
    let loan = Loan::of(&mut payload, room, 0);
    assert!(loan.is_some() && all(room, 1));
    assert!(all(&memory.data(&store)[MIB + 10..], 0), "bytes of the payload before it");
}

#[test]
fn what_lies_otherwise_is_not_lent() {
    let (mut store, memory) = memory(8);
    let mut payload = arrived(&Recycler::default(), 3, MIB);
    let mut copy = Arrived::from(Bytes::copy_from_slice(&payload));
    let room = &mut memory.data_mut(&mut store)[..2 * MIB];
    assert!(
        Loan::of(&mut payload, &mut room[8..8 + MIB], 0).is_none(),
        "the pages begin elsewhere"
    );
    assert!(Loan::of(&mut payload, &mut room[..MIB + 1], 0).is_none(), "another length");
    assert!(Loan::of(&mut copy, &mut room[..MIB], 0).is_none(), "it may be shared");
    assert!(Loan::of(&mut payload, &mut room[..MIB], MIB).is_none(), "nothing is left of it");
    assert!(all(&payload, 3) && all(room, 0));
}

#[test]
fn a_spare_is_zeros_whoever_had_it() {
    let (mut store, memory) = memory(8);
    let place = |store: &mut Store<()>, range: Range<usize>| {
        let start = memory.data_mut(store).as_mut_ptr().expose_provenance();
        Place::within(start + range.start..start + range.end).expect("whole pages")
    };
    memory.data_mut(&mut store)[MIB..5 * MIB].fill(7);
    let first = place(&mut store, MIB..5 * MIB);
    let spare = Spare::from_guest(&first).expect("its pages");
    assert!(all(memory.data(&store), 0), "the guest keeps some");
    // To less than it is, and to more.
    let less = place(&mut store, 0..2 * MIB);
    let lent = spare.lend(&less).expect("moved");
    memory.data_mut(&mut store)[..2 * MIB].fill(8);
    let spare = lent.take_back().expect("moved back");
    assert!(all(memory.data(&store), 0));
    let more = place(&mut store, MIB..8 * MIB);
    let lent = spare.lend(&more).expect("moved");
    assert!(all(memory.data(&store), 0), "what the other guest wrote");
    memory.data_mut(&mut store).fill(9);
    drop(lent);
    assert!(all(memory.data(&store), 9), "a spare that is not taken back stays with the guest");
}
