//! What comes of bytes that are broken on purpose: an error, soon, and nothing else.

use crate::bytes::{Golden, encode, frame};
use crate::{declared_kinds, goldens, values};
use dpfw_protocol::Bytes;
use dpfw_protocol::batch;
use dpfw_protocol::changes::{Changed, Unwatch, Watch};
use dpfw_protocol::error::Failure;
use dpfw_protocol::frame::{END, Frame, HEADER, Header};
use dpfw_protocol::hello::Hello;
use dpfw_protocol::ids::{AttemptId, ConversationId};
use dpfw_protocol::limits::{
    INLINE, MAX_BACKTRACE, MAX_BODY, MAX_KEY, MAX_LISTED, MAX_NAME, MAX_NEEDS, MAX_TEXT,
};
use dpfw_protocol::message::{
    Abandon, Bind, BindImage, BindMethod, BindResident, CallResident, Cancel, Close, Credit,
    Describe, Description, Dispatch, Done, Drain, Draining, Extras, Failed, FetchImage, Heartbeat,
    ImageBytes, ImageGone, ImageReady, Loading, Locate, Located, Log, Message, MessageError,
    ModuleBytes, NeedImage, NeedModule, Progress, Queued, Recall, Release, Reserve, Reserved,
    ResidentReply, ResidentRequest, Returned, Snapshot, Started, Status, StoreReply, StoreRequest,
    Timing, Waiting, Withdraw, decode, encode as try_encode, kind,
};
use dpfw_protocol::payload;
use dpfw_protocol::receive::{ArrivalError, Arrivals};
use dpfw_protocol::recycle::Recycler;
use dpfw_protocol::store::Disk;
use proptest::collection::vec;
use proptest::prelude::*;

/// Reads a body as its kind calls for. `None` if the kind is not known here.
fn read(kind: u8, body: &[u8]) -> Option<Result<(), String>> {
    let header =
        Header { len: body.len() as u32, kind, flags: END, conversation: ConversationId(1) };
    let frame = Frame { header, body };
    macro_rules! by_kind {
        ($($message:ident),* $(,)?) => {
            match kind {
                kind::HELLO => Hello::from_body(body).map(drop).map_err(|e| e.to_string()),
                kind::CHUNK => Ok(()),
                $(<$message as Message>::KIND => {
                    decode::<$message>(&frame).map(drop).map_err(|e| e.to_string())
                })*
                _ => return None,
            }
        };
    }
    Some(by_kind![
        Close,
        Heartbeat,
        Credit,
        Abandon,
        Bind,
        Dispatch,
        Cancel,
        Recall,
        ModuleBytes,
        StoreRequest,
        Watch,
        Unwatch,
        Changed,
        Reserve,
        Release,
        Describe,
        Drain,
        NeedModule,
        Started,
        Done,
        Failed,
        Returned,
        Log,
        Progress,
        StoreReply,
        Reserved,
        Status,
        Draining,
        Description,
        Waiting,
        Loading,
        Queued,
        BindImage,
        ImageBytes,
        FetchImage,
        NeedImage,
        ImageReady,
        ImageGone,
        Snapshot,
        Locate,
        Located,
        BindResident,
        BindMethod,
        CallResident,
        Withdraw,
        ResidentRequest,
        ResidentReply,
    ])
}

/// The kinds whose bodies begin with a message and its length.
fn messages() -> impl Iterator<Item = u8> {
    declared_kinds().into_keys().filter(|k| ![kind::HELLO, kind::CHUNK].contains(k))
}

/// The body that holds these bytes as its message.
fn body(message: &[u8]) -> Vec<u8> {
    let len = u16::try_from(message.len()).expect("fits its length");
    [&len.to_le_bytes()[..], message].concat()
}

/// A golden's message and payload, apart.
fn parts(golden: &Golden) -> Option<(Vec<u8>, Vec<u8>)> {
    let (len, rest) = golden.bytes[HEADER..].split_first_chunk::<2>()?;
    let (message, payload) = rest.split_at_checked(u16::from_le_bytes(*len).into())?;
    let has_message = ![kind::HELLO, kind::CHUNK].contains(&golden.kind);
    has_message.then(|| (message.to_vec(), payload.to_vec()))
}

#[test]
fn every_kind_is_read_here() {
    for (number, name) in declared_kinds() {
        assert!(read(number, b"").is_some(), "{name} is not read by these tests");
    }
}

#[test]
fn a_frame_that_is_cut_short_is_refused() {
    for golden in goldens() {
        let (whole, name) = (&golden.bytes[HEADER..], golden.name);
        let needed = match (golden.kind, parts(&golden)) {
            (_, Some((message, _))) => 2 + message.len(),
            (kind::HELLO, None) => whole.len(),
            _ => 0,
        };
        for cut in 0..needed {
            let outcome = read(golden.kind, &whole[..cut]).expect("known");
            assert!(outcome.is_err(), "{name} was read from {cut} bytes");
        }
        assert_eq!(read(golden.kind, &whole[..needed]), Some(Ok(())), "{name}");
    }
}

#[test]
fn a_message_that_is_cut_short_is_refused() {
    for golden in goldens() {
        let Some((message, payload)) = parts(&golden) else { continue };
        for cut in 0..message.len() {
            let bytes = [body(&message[..cut]), payload.clone()].concat();
            let outcome = read(golden.kind, &bytes).expect("known");
            assert!(outcome.is_err(), "{} was read from {cut} bytes", golden.name);
        }
    }
}

#[test]
fn a_payload_that_is_cut_short_is_found_out() {
    let bytes = encode(1, &values::dispatch(), b"\x92\x02\x03", true);
    for cut in 1..=3 {
        let short = &bytes[..bytes.len() - cut];
        let header = frame(&bytes).header;
        let frame = Frame { header, body: &short[HEADER..] };
        let (dispatch, inline) = decode::<Dispatch>(&frame).expect("the message is whole");
        let begun = Arrivals::new(1, 1, Recycler::default()).begin(
            ConversationId(1),
            dispatch.payload,
            inline,
            true,
            (),
        );
        assert!(matches!(begun, Err(ArrivalError::Broken { .. })), "{cut} bytes are missing");
    }
}

#[test]
fn bytes_behind_a_message_are_refused() {
    let single = (0..=u8::MAX).map(|byte| vec![byte]);
    let cut_short = [&b"\x91"[..], b"\x81", b"\x92\x91", b"\xdc\0\x01", b"\xde\0\x01\xc0", b"\xa5"];
    let tails: Vec<_> = single.chain(cut_short.map(<[u8]>::to_vec)).collect();
    for golden in goldens() {
        let Some((message, payload)) = parts(&golden) else { continue };
        for tail in &tails {
            let bytes = [body(&[&message[..], tail].concat()), payload.clone()].concat();
            let outcome = read(golden.kind, &bytes).expect("known");
            assert!(outcome.is_err(), "{} with {tail:x?} behind it was read", golden.name);
        }
    }
}

#[test]
fn what_a_later_hello_may_have_is_passed_over() {
    for golden in goldens().iter().filter(|golden| golden.kind == kind::HELLO) {
        let hello = &golden.bytes[HEADER..];
        assert_eq!(read(kind::HELLO, &[hello, b"more"].concat()), Some(Ok(())));
        let (&map, fields) = hello.split_first().expect("a map");
        for (levels, is_fine) in [(1, true), (6, true), (7, false), (1000, false)] {
            let newer = [&[map + 1], &b"\xa1?"[..], &b"\x91".repeat(levels), b"\xc0", fields];
            let outcome = read(kind::HELLO, &newer.concat()).expect("known");
            assert_eq!(outcome.is_ok(), is_fine, "{levels} levels: {outcome:?}");
        }
    }
}

/// Runs on a stack that holds the nesting that is allowed, and not much more.
fn on_a_small_stack(test: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(512 * 1024);
    thread.spawn(test).expect("a thread").join().expect("the test");
}

#[test]
fn deep_messages_are_refused() {
    on_a_small_stack(|| {
        let towers = [&b"\x91"[..], b"\x81\xa0", b"\x81\x90", b"\xdd\0\0\0\x01", b"\x92\x90"];
        for tower in towers {
            for levels in [8, 20, 1000, 60_000 / tower.len()] {
                let deep = tower.repeat(levels);
                for kind in messages() {
                    assert_ne!(read(kind, &body(&deep)), Some(Ok(())), "{tower:x?} {levels}");
                }
                assert_ne!(read(kind::HELLO, &deep[..deep.len().min(4096)]), Some(Ok(())));
            }
        }
    });
}

#[test]
fn deep_fields_that_nobody_knows_are_refused() {
    on_a_small_stack(|| {
        // A struct is read from a map as well, whose unknown fields are passed over.
        let field = |levels| [&b"\x81\xa1?"[..], &b"\x91".repeat(levels), b"\xc0"].concat();
        for levels in [20, 1000, 60_000] {
            for kind in messages() {
                let outcome = read(kind, &body(&field(levels))).expect("known");
                let error = outcome.expect_err("too deep");
                assert!(error.contains("depth limit"), "{kind}: {error}");
            }
        }
        // The map and what it holds: 15 levels are read, 16 are not.
        assert_eq!(read(kind::CANCEL, &body(&field(14))), Some(Ok(())));
        assert_ne!(read(kind::CANCEL, &body(&field(15))), Some(Ok(())));
    });
}

#[test]
fn deep_values_and_failures_are_refused() {
    on_a_small_stack(|| {
        let failure = [&b"\x81\xa1?"[..], &b"\x91".repeat(100_000), b"\xc0"].concat();
        let mut outcomes = vec![1];
        outcomes.extend((failure.len() as u32).to_le_bytes());
        outcomes.extend(failure);
        assert_eq!(batch::outcomes(&outcomes).last(), Some(Err(batch::BadBatch)));
    });
    let value = Bytes::from(b"\x91".repeat(100_000));
    assert!(payload::decode::<serde_json::Value>(value).is_err());
}

#[test]
fn wide_messages_are_refused() {
    // Lengths that are announced and not there: 4 GiB of items, of text, of bytes.
    let wide = [&b"\xdd"[..], b"\xdf", b"\xdb", b"\xc6", b"\xc9"]
        .map(|marker| [marker, &[0xff; 4]].concat());
    for wide in &wide {
        for kind in messages() {
            let outcome = read(kind, &body(wide)).expect("known");
            assert!(outcome.is_err(), "{kind} was read from {wide:x?}");
        }
        assert!(read(kind::HELLO, wide).expect("known").is_err());
        // The same in the place of every byte of a message.
        for golden in goldens() {
            let Some((message, _)) = parts(&golden) else { continue };
            for at in 0..message.len() {
                let spliced = [&message[..at], wide, &message[at + 1..]].concat();
                drop(read(golden.kind, &body(&spliced)));
            }
        }
    }
}

/// Encodes without looking at bounds, as a peer may.
fn unbounded<M: Message>(message: &M) -> Option<Result<(), String>> {
    let bytes = rmp_serde::to_vec(message).expect("encodes");
    let refused = try_encode(&mut Vec::new(), ConversationId(1), message, b"", true);
    assert_eq!(refused, Err(MessageError::TooLong { kind: M::KIND, len: bytes.len() }));
    read(M::KIND, &body(&bytes))
}

#[test]
fn lists_and_texts_beyond_their_limits_are_refused() {
    let out_of_bounds = |kind| Some(Err(MessageError::Unbounded { kind }.to_string()));
    let attempts = || vec![AttemptId(1); MAX_LISTED + 1];
    let long = |most: usize| "x".repeat(most + 1);
    let task = long(MAX_NAME);

    assert_eq!(unbounded(&Recall { attempts: attempts() }), out_of_bounds(kind::RECALL));
    assert_eq!(unbounded(&Started { attempts: attempts() }), out_of_bounds(kind::STARTED));
    assert_eq!(unbounded(&Loading { attempts: attempts() }), out_of_bounds(kind::LOADING));
    assert_eq!(unbounded(&Queued { attempts: attempts() }), out_of_bounds(kind::QUEUED));
    assert_eq!(unbounded(&Returned { attempts: attempts() }), out_of_bounds(kind::RETURNED));
    assert_eq!(unbounded(&Bind { task, ..values::bind() }), out_of_bounds(kind::BIND));
    let needs = vec![values::key("k"); MAX_NEEDS + 1];
    assert_eq!(unbounded(&Locate { keys: needs.clone() }), out_of_bounds(kind::LOCATE));
    let held = vec![true; MAX_NEEDS + 1];
    assert_eq!(unbounded(&Located { held }), out_of_bounds(kind::LOCATED));
    let extras = Some(Box::new(Extras { needs, ..Extras::default() }));
    assert_eq!(
        unbounded(&Dispatch { extras, ..values::dispatch() }),
        out_of_bounds(kind::DISPATCH)
    );
    let line = Log { text: long(MAX_TEXT), ..values::log() };
    assert_eq!(unbounded(&line), out_of_bounds(kind::LOG));
    let line = Log { target: long(MAX_NAME), ..values::log() };
    assert_eq!(unbounded(&line), out_of_bounds(kind::LOG));
    let described = Description { agent: long(MAX_NAME), ..values::description() };
    assert_eq!(unbounded(&described), out_of_bounds(kind::DESCRIPTION));
    let goodbye = Close { code: 0, reason: long(MAX_TEXT) };
    assert_eq!(unbounded(&goodbye), out_of_bounds(kind::CLOSE));

    for failure in [
        Failure { message: long(MAX_TEXT), ..Failure::default() },
        Failure { name: long(MAX_TEXT), ..Failure::default() },
        Failure { list: vec![String::new(); MAX_BACKTRACE + 1], ..Failure::default() },
        Failure { list: vec![long(256)], ..Failure::default() },
    ] {
        let failed = Failed { timing: Timing::default(), failure: failure.clone() };
        assert_eq!(unbounded(&failed), out_of_bounds(kind::FAILED));
        assert_eq!(unbounded(&Abandon { failure: failure.clone() }), out_of_bounds(kind::ABANDON));
        let reply = StoreReply { failure: Some(failure), ..values::store_reply() };
        assert_eq!(unbounded(&reply), out_of_bounds(kind::STORE_REPLY));
    }
}

#[test]
fn a_disk_in_a_later_versions_words_is_unknown() {
    let bytes = encode(7, &values::description_with_a_disk(), b"", true);
    let at = bytes.windows(7).position(|word| word == b"durable").expect("the word");
    let later = [&bytes[..at], b"striped", &bytes[at + 7..]].concat();
    let (described, _) = decode::<Description>(&frame(&later)).expect("it is read");
    let known = values::description_with_a_disk();
    assert_eq!(described, Description { disk: Disk::Unknown, ..known });
}

#[test]
fn keys_beyond_their_limits_are_refused() {
    // Only `Key::new` makes keys here; a peer writes what it likes.
    for (before, behind, kind) in [
        (&b"\x92\x81\xa3Get\x91"[..], &b"\0"[..], kind::STORE_REQUEST),
        (b"\x96\xc0\xc3\0\x91\x99", b"\xa5value\0\0\0\xa1m\xc2\xc2\xc0\xc2\0", kind::STORE_REPLY),
        (b"\x95\0\0\xc0\0\x93\xc0", b"\x90", kind::DISPATCH),
        (b"\x95\0\0\xc0\0\x93\xc0\xc0\x91", b"", kind::DISPATCH),
        (b"\x91\x91", b"", kind::LOCATE),
    ] {
        for (len, is_fine) in [(0, false), (1, true), (MAX_KEY, true), (MAX_KEY + 1, false)] {
            let text = rmp_serde::to_vec(&"k".repeat(len)).expect("encodes");
            let message = [before, &text, behind].concat();
            let outcome = read(kind, &body(&message)).expect("known");
            assert_eq!(outcome.is_ok(), is_fine, "a key of {len} bytes: {outcome:?}");
        }
    }
}

#[test]
fn a_body_that_no_frame_holds_is_not_written() {
    let attempts = vec![AttemptId(u64::MAX); MAX_LISTED];
    let mut out = b"before".to_vec();
    let recall = Recall { attempts };
    let payload = vec![0; MAX_BODY - INLINE];
    let refused = try_encode(&mut out, ConversationId(1), &recall, &payload, true);
    assert!(matches!(refused, Err(MessageError::TooLong { kind: kind::RECALL, .. })));
    assert_eq!(out, b"before");
}

#[test]
fn an_error_does_not_repeat_what_acts_on_a_terminal() {
    let message = b"\x92\x81\xa5\x1b[31m\x91\xa1k\0";
    let error = read(kind::STORE_REQUEST, &body(message)).expect("known").expect_err("no such op");
    assert!(error.contains("u{1b}[31m") && !error.contains('\u{1b}'), "{error:?}");
}

proptest! {
    #[test]
    fn no_body_makes_it_panic(bytes in vec(any::<u8>(), 0..300)) {
        for kind in declared_kinds().into_keys() {
            drop(read(kind, &bytes));
            drop(read(kind, &body(&bytes)));
        }
    }

    #[test]
    fn no_change_of_a_golden_makes_it_panic(
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        for golden in goldens().into_iter().filter(|golden| golden.bytes.len() > HEADER) {
            let mut bytes = golden.bytes[HEADER..].to_vec();
            for (at, byte) in &changes {
                let at = at.index(bytes.len());
                bytes[at] = *byte;
            }
            drop(read(golden.kind, &bytes));
        }
    }
}
