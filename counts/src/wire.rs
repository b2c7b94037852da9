//! A task's way over a link, without the link: what master and slave do with its bytes.
//!
//! Owns: frames as they are in a busy hour, so many in one buffer. Does not: read or write; the
//! system calls are shared by all of a batch. Invariant: each side does here what it does in
//! `master` and `slave`, in that order.

use crate::Ready;
use anyhow::{Context, Result, bail, ensure};
use dpfw_bench_tasks::fresh_add;
use dpfw_protocol::Bytes;
use dpfw_protocol::frame::{END, FrameDecoder};
use dpfw_protocol::ids::{AttemptId, BindId};
use dpfw_protocol::limits::{MAX_BODY, WINDOW};
use dpfw_protocol::message::{self, Dispatch, Done, Message, TaskFlags, Timing};
use dpfw_protocol::payload::{self, Payload};
use dpfw_protocol::receive::{Arrivals, Step};
use dpfw_protocol::recycle::Recycler;
use dpfw_protocol::send::{SLICES, SendQueue};
use std::hint::black_box;

/// Frames that leave in one system call, and come in one.
const FRAMES: u64 = 64;

/// A task's arguments and its result, encoded: a few bytes, as of most tasks.
const ARGS: &[u8] = &[0x92, 7, 3];
const RESULT: &[u8] = &[0x92, 1, 10];

/// The typed call of a task's module.
pub(crate) fn encode_call() -> Result<Ready> {
    let mut a = 0;
    Ok(Ready::new(1, move || {
        a = (a + 1) % 100;
        let (task, args) = fresh_add::call(black_box(a), 3).into_parts();
        ensure!(args.is_ok_and(|args| args.len() == ARGS.len()), "{task:?} takes three bytes");
        Ok(())
    }))
}

pub(crate) fn decode_result() -> Result<Ready> {
    Ok(Ready::new(1, || {
        let result: (u32, i64) = payload::decode(black_box(Bytes::from_static(RESULT)))?;
        ensure!(result == (1, 10), "{result:?}");
        Ok(())
    }))
}

fn dispatch() -> Dispatch {
    let (bind, flags) = (BindId(0), TaskFlags::default());
    Dispatch { bind, flags, budget_us: None, payload: ARGS.len() as u64, extras: None }
}

fn done() -> Done {
    let timing = Timing { queued_us: 700, init_us: 3, run_us: 2, memory: 1_114_112 };
    Done { timing, payload: RESULT.len() as u64, kept: None }
}

/// The master's arguments are in a rope that its entry of the task shares.
pub(crate) fn encode_dispatch() -> Result<Ready> {
    let args = Payload::from(ARGS);
    encode(move |queue, attempt| {
        let args = black_box(&args).clone();
        Ok(queue.message_with(attempt.conversation(), black_box(&dispatch()), args)?)
    })
}

/// The slave's result is a part of the guest's memory.
pub(crate) fn encode_done() -> Result<Ready> {
    encode(|queue, attempt| {
        let (done, result) = (done(), black_box(RESULT));
        Ok(queue.message_with_slice(attempt.conversation(), black_box(&done), result)?)
    })
}

/// Queues messages, and takes them out of the queue as if they had been written.
fn encode(
    mut queue_one: impl FnMut(&mut SendQueue, AttemptId) -> Result<()> + 'static,
) -> Result<Ready> {
    let (mut queue, mut attempt) = (SendQueue::new(WINDOW), AttemptId(0));
    Ok(Ready::new(FRAMES, move || {
        for _ in 0..FRAMES {
            attempt.0 += 1;
            queue_one(&mut queue, attempt)?;
        }
        let mut slices = Vec::with_capacity(SLICES);
        queue.slices(&mut slices);
        let written = black_box(&slices).iter().map(|slice| slice.len()).sum();
        drop(slices);
        queue.advance(written);
        ensure!(queue.is_idle(), "something is left");
        Ok(())
    }))
}

pub(crate) fn decode_dispatch() -> Result<Ready> {
    decode(&dispatch(), ARGS, |dispatch: &Dispatch| dispatch.payload)
}

pub(crate) fn decode_done() -> Result<Ready> {
    decode(&done(), RESULT, |done: &Done| done.payload)
}

/// Cuts frames out of what was read at once, and takes their messages and payloads.
fn decode<M: Message + 'static>(
    message: &M,
    payload: &'static [u8],
    announced: fn(&M) -> u64,
) -> Result<Ready> {
    let mut bytes = Vec::new();
    for attempt in 1..=FRAMES {
        let conversation = AttemptId(attempt).conversation();
        message::encode(&mut bytes, conversation, message, payload, true)?;
    }
    let mut decoder = FrameDecoder::new(MAX_BODY);
    let mut arrivals = Arrivals::new(WINDOW, u64::MAX, Recycler::default());
    Ok(Ready::new(FRAMES, move || {
        let space = decoder.space().get_mut(..bytes.len()).context("no room to read into")?;
        space.copy_from_slice(black_box(&bytes));
        decoder.filled(bytes.len());
        let mut frames = 0;
        while let Some(frame) = decoder.next_frame()? {
            let (message, inline) = message::decode::<M>(&frame)?;
            let (of, last) = (frame.header.conversation, frame.header.flags & END != 0);
            match arrivals.begin(of, announced(&message), inline, last, message) {
                Ok(Step::Complete(message, args)) => drop(black_box((message, args))),
                _ => bail!("a payload did not come with its frame"),
            }
            frames += 1;
        }
        ensure!(frames == FRAMES, "{frames} frames");
        Ok(())
    }))
}
