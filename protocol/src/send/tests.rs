use super::*;
use crate::frame::FrameDecoder;
use crate::ids::ModuleHash;
use crate::limits::MAX_BODY;
use crate::message::{Heartbeat, ModuleBytes};

fn offer(payload: usize) -> ModuleBytes {
    ModuleBytes { module: ModuleHash::of(b""), payload: payload as u64 }
}

/// Writes at most `most` bytes, in steps, and gives what came out.
fn write(queue: &mut SendQueue, most: usize, step: usize) -> Vec<u8> {
    let mut out = Vec::new();
    while out.len() < most && !queue.is_idle() {
        let mut slices = Vec::new();
        queue.slices(&mut slices);
        assert!(slices.len() <= SLICES);
        let all: Vec<u8> = slices.iter().flat_map(|s| s.iter().copied()).collect();
        drop(slices);
        let n = all.len().min(step).min(most - out.len());
        out.extend_from_slice(&all[..n]);
        queue.advance(n);
        if all.is_empty() {
            break;
        }
    }
    out
}

fn frames(bytes: &[u8]) -> Vec<Header> {
    let mut decoder = FrameDecoder::new(MAX_BODY);
    let mut out = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let space = decoder.space();
        let n = space.len().min(rest.len());
        space[..n].copy_from_slice(&rest[..n]);
        decoder.filled(n);
        rest = &rest[n..];
        while let Some(frame) = decoder.next_frame().expect("well formed") {
            out.push(frame.header);
        }
    }
    out
}

#[test]
fn small_payloads_share_the_messages_frame() {
    let mut queue = SendQueue::new(u64::MAX);
    queue.message_with(ConversationId(1), &offer(3), vec![1, 2, 3].into()).expect("fits");
    let headers = frames(&write(&mut queue, usize::MAX, 7));
    assert_eq!(headers.len(), 1);
    assert_eq!(headers[0].flags, END);
}

#[test]
fn a_control_frame_waits_for_no_more_than_what_is_committed() {
    let mut queue = SendQueue::new(u64::MAX);
    let big = vec![0u8; 100 * CHUNK];
    queue.message_with(ConversationId(1), &offer(big.len()), big.into()).expect("fits");
    let mut out = write(&mut queue, 10_000, 10_000);
    queue.message(ConversationId::LINK, &Heartbeat {}).expect("fits");
    out.extend(write(&mut queue, usize::MAX, 100_000));
    let headers = frames(&out);
    let at = headers.iter().position(|h| h.kind == kind::HEARTBEAT).expect("sent");
    assert!(at <= 1 + AHEAD / CHUNK, "it was frame {at}");
    assert_eq!(headers.last().map(|h| h.flags), Some(END));
}

#[test]
fn conversations_take_turns_and_keep_to_their_credit() {
    let mut queue = SendQueue::new(2 * CHUNK as u64);
    for id in [1, 2] {
        let big = vec![0u8; 3 * CHUNK];
        queue.message_with(ConversationId(id), &offer(big.len()), big.into()).expect("fits");
    }
    let headers = frames(&write(&mut queue, usize::MAX, usize::MAX));
    let chunks: Vec<_> =
        headers.iter().filter(|h| h.kind == kind::CHUNK).map(|h| h.conversation.0).collect();
    assert_eq!(chunks, [1, 2, 1, 2]);
    assert!(queue.is_idle());
    assert_eq!(queue.bulk_bytes(), 2 * CHUNK);

    queue.credit(ConversationId(2), 1 << 30);
    let headers = frames(&write(&mut queue, usize::MAX, usize::MAX));
    assert_eq!(headers.iter().map(|h| (h.conversation.0, h.flags)).collect::<Vec<_>>(), [(2, END)]);
    assert!(queue.abandon(ConversationId(1)));
    assert_eq!(queue.bulk_bytes(), 0);
}

#[test]
fn a_stream_sends_what_it_has_and_says_when_it_ends() {
    let id = ConversationId(9);
    let mut queue = SendQueue::new(u64::MAX);
    queue.open(id, 5);
    assert!(queue.is_idle() && queue.write(id, b"abc") && queue.write(id, b"def"));
    assert_eq!(queue.bulk_bytes(), 6);
    let sent = write(&mut queue, usize::MAX, usize::MAX);
    assert_eq!((&sent[HEADER..], queue.unsent(id)), (&b"abcde"[..], Some((1, 0))));
    assert!(queue.is_idle(), "there is no credit for the rest");

    queue.credit(id, 1);
    let sent = write(&mut queue, usize::MAX, usize::MAX);
    assert_eq!((frames(&sent)[0].flags, &sent[HEADER..]), (0, &b"f"[..]));
    queue.end(id);
    let sent = write(&mut queue, usize::MAX, usize::MAX);
    let headers = frames(&sent);
    assert_eq!((headers[0].flags, headers[0].len), (END, 0), "which needs no credit");
    assert!(queue.unsent(id).is_none() && !queue.write(id, b"late"));
    assert_eq!(queue.bulk_bytes(), 0);
}

#[test]
fn nothing_of_a_stream_leaves_before_it_is_asked_for() {
    let id = ConversationId(9);
    let mut queue = SendQueue::new(u64::MAX);
    queue.open(id, 0);
    queue.end(id);
    assert_eq!(write(&mut queue, usize::MAX, usize::MAX), [0u8; 0]);
    queue.credit(id, 1);
    assert_eq!(frames(&write(&mut queue, usize::MAX, usize::MAX))[0].flags, END);
}

#[test]
fn small_writes_to_a_stream_leave_together() {
    let id = ConversationId(9);
    let mut queue = SendQueue::new(u64::MAX);
    queue.open(id, u64::MAX);
    for _ in 0..3 * CHUNK / 64 {
        assert!(queue.write(id, &[7; 64]));
    }
    assert!(queue.write_piece(id, Bytes::from_static(b"a piece")));
    queue.end(id);
    let headers = frames(&write(&mut queue, usize::MAX, usize::MAX));
    let lens: Vec<_> = headers.iter().map(|h| h.len as usize).collect();
    assert_eq!(lens, [CHUNK, CHUNK, CHUNK, 7]);
    queue.open(id, u64::MAX);
    assert!(queue.write(id, &[7; 64]) && queue.abandon(id));
    assert_eq!((queue.bulk_bytes(), queue.unsent(id)), (0, None));
}

#[test]
fn those_without_credit_do_not_hold_up_those_with() {
    let mut queue = SendQueue::new(CHUNK as u64);
    let add = |queue: &mut SendQueue, id, payload: usize| {
        let payload = vec![0u8; payload];
        queue
            .message_with(ConversationId(id), &offer(payload.len()), payload.into())
            .expect("fits");
    };
    (1..=8).for_each(|id| add(&mut queue, id, 2 * CHUNK));
    // Two commits: each conversation has sent what it may, and none is set aside yet.
    for _ in 0..2 {
        let mut slices = Vec::new();
        queue.slices(&mut slices);
        let n = slices.iter().map(|s| s.len()).sum();
        queue.advance(n);
    }
    assert_eq!((queue.bulk_bytes(), queue.stalled.len()), (8 * CHUNK, 0));
    queue.set_window(u64::MAX);
    add(&mut queue, 9, CHUNK);
    let then = frames(&write(&mut queue, usize::MAX, usize::MAX));
    assert_eq!(then.last().map(|h| (h.conversation.0, h.flags)), Some((9, END)));
    assert!(queue.is_idle());
    assert_eq!(queue.bulk_bytes(), 8 * CHUNK);
}
