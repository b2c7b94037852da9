//! The bytes of everything that is said on a link, version 1.
//!
//! Each frame stands in a file under `golden/v1`, taken apart and commented, so that other
//! implementations can test against it. What fails here is a change of the wire: it needs
//! a new version of the protocol, its own directory of golden bytes and a line in the
//! CHANGELOG. [`hostile`] holds what comes of bytes that are broken, [`arbitrary`] that any
//! value survives.

#[path = "golden/arbitrary.rs"]
mod arbitrary;
#[path = "golden/bytes.rs"]
mod bytes;
#[path = "golden/hostile.rs"]
mod hostile;
#[path = "golden/values.rs"]
mod values;

use bytes::{Golden, frame, golden, golden_begun, hex};
use dpfw_protocol::changes::Unwatch;
use dpfw_protocol::frame::{END, Frame, FrameDecoder, Header};
use dpfw_protocol::hello::{Hello, PREFACE};
use dpfw_protocol::ids::ConversationId;
use dpfw_protocol::limits::{MAX_BODY, PROTOCOL};
use dpfw_protocol::message::{
    Cancel, Credit, Describe, Drain, Draining, Heartbeat, Progress, Release, Reserve, Reserved,
    Withdraw, kind,
};
use std::collections::{BTreeMap, BTreeSet};

macro_rules! v1 {
    ($name:literal) => {
        include_str!(concat!("golden/v1/", $name, ".hex"))
    };
}

/// The first of a master's conversations that are no attempts.
const OTHERS: u64 = 1 << 62;

const VALUE: &[u8] = b"\xcc\xc8";

/// All frames, hellos included.
fn goldens() -> Vec<Golden> {
    let mut all = hellos();
    all.extend(links());
    all.extend(to_slaves());
    all.extend(to_masters());
    all
}

fn hellos() -> Vec<Golden> {
    let hello = |name, value: Hello, text| {
        let bytes = hex(text).split_off(PREFACE.len());
        let encoded = value.to_bytes().expect("fits").split_off(PREFACE.len());
        let is_value = move |frame: &Frame<'_>| {
            Ok(Hello::from_body(frame.body).is_ok_and(|decoded| decoded == value))
        };
        Golden { name, kind: kind::HELLO, bytes, encoded, is_value: Box::new(is_value) }
    };
    vec![
        hello("hello of a master", values::hello_of_a_master(), v1!("hello_of_a_master")),
        hello("hello of a slave", values::hello_of_a_slave(), v1!("hello_of_a_slave")),
        hello(
            "hello of another slave",
            values::hello_of_another_slave(),
            v1!("hello_of_another_slave"),
        ),
    ]
}

/// What both sides say.
fn links() -> Vec<Golden> {
    vec![
        golden("close", 0, values::closing(), b"", v1!("close")),
        golden("heartbeat", 0, Heartbeat {}, b"", v1!("heartbeat")),
        chunk("chunk", 1, END, b"hello", v1!("chunk")),
        chunk("chunk of stdout", 1 << 63 | 3, 0, b"hello", v1!("chunk_of_stdout")),
        chunk("end of stdin", 1 << 63 | 2, END, b"", v1!("chunk_that_ends_stdin")),
        golden("credit", 1, Credit { bytes: 1 << 20 }, b"", v1!("credit")),
        golden("abandon", 1, values::abandon(), b"", v1!("abandon")),
    ]
}

/// The only frame without a message.
fn chunk(
    name: &'static str,
    conversation: u64,
    flags: u8,
    body: &'static [u8],
    text: &str,
) -> Golden {
    let conversation = ConversationId(conversation);
    let header = Header { len: body.len() as u32, kind: kind::CHUNK, flags, conversation };
    Golden {
        name,
        kind: kind::CHUNK,
        bytes: hex(text),
        encoded: [&header.to_bytes()[..], body].concat(),
        is_value: Box::new(move |frame| Ok(frame.header == header && frame.body == body)),
    }
}

fn to_slaves() -> Vec<Golden> {
    let mut all = vec![
        golden("bind", 0, values::bind(), b"", v1!("bind")),
        golden(
            "bind with a belief",
            0,
            values::bind_with_a_belief(),
            b"",
            v1!("bind_with_a_belief"),
        ),
        golden("bind image", 0, values::bind_image(), b"", v1!("bind_image")),
        golden("recipe", OTHERS + 6, values::recipe(), b"\0asm\x01\0\0\0\x91\x05", v1!("recipe")),
        golden("no recipe", OTHERS + 7, values::no_recipe(), b"", v1!("no_recipe")),
        golden(
            "image sent",
            OTHERS + 8,
            values::image_sent(),
            b"\0asm\x01\0\0\0",
            v1!("image_sent"),
        ),
        golden("fetch image", OTHERS + 9, values::fetch_image(), b"", v1!("fetch_image")),
        golden("dispatch", 1, values::dispatch(), b"\x92\x02\x03", v1!("dispatch")),
        golden_begun("batch", 2, values::dispatch_of_a_batch(), v1!("dispatch_of_a_batch")),
        golden(
            "dispatch with limits",
            3,
            values::dispatch_with_limits(),
            b"\x92\x02\x03",
            v1!("dispatch_with_limits"),
        ),
        golden(
            "dispatch with keys",
            4,
            values::dispatch_with_keys(),
            b"\x92\x02\x03",
            v1!("dispatch_with_keys"),
        ),
        golden("bind resident", 0, values::bind_resident(), b"", v1!("bind_resident")),
        golden("bind method", 0, values::bind_method(), b"", v1!("bind_method")),
        golden("spawn", 5, values::dispatch_of_a_spawn(), b"\x91\x06", v1!("dispatch_of_a_spawn")),
        golden("call", OTHERS + 10, values::call_resident(), b"\x90", v1!("call_resident")),
        golden("cast", OTHERS + 11, values::cast_resident(), b"\x90", v1!("cast_resident")),
        golden("withdraw", OTHERS + 11, Withdraw {}, b"", v1!("withdraw")),
        golden("locate", OTHERS + 4, values::locate(), b"", v1!("locate")),
        golden("cancel", 1, Cancel {}, b"", v1!("cancel")),
        golden("recall", 0, values::recall(), b"", v1!("recall")),
        golden(
            "module bytes",
            OTHERS,
            values::module_bytes(),
            b"\0asm\x01\0\0\0",
            v1!("module_bytes"),
        ),
        golden("reserve", OTHERS + 2, Reserve { wait: true }, b"", v1!("reserve")),
        golden("release", 0, Release {}, b"", v1!("release")),
        golden("describe", OTHERS + 3, Describe {}, b"", v1!("describe")),
        golden("drain", 0, Drain {}, b"", v1!("drain")),
        golden("watch", OTHERS + 4, values::watch(), b"", v1!("watch")),
        golden("unwatch", OTHERS + 4, Unwatch {}, b"", v1!("unwatch")),
    ];
    let files = [
        v1!("store_get"),
        v1!("store_put"),
        v1!("store_put_if_absent"),
        v1!("store_compare_and_swap"),
        v1!("store_update"),
        v1!("store_remove"),
        v1!("store_list"),
        v1!("store_get_range"),
        v1!("store_pin"),
        v1!("store_look"),
        v1!("store_put_on_terms"),
        v1!("store_put_durable"),
        v1!("store_remove_durable"),
    ];
    for ((request, value), file) in values::store_requests().into_iter().zip(files) {
        all.push(golden("store request", OTHERS + 1, request, value, file));
    }
    let files = [
        v1!("resident_find"),
        v1!("resident_list"),
        v1!("resident_stop"),
        v1!("resident_await"),
        v1!("resident_hand_over"),
        v1!("resident_take_back"),
        v1!("resident_moved"),
        v1!("resident_let_go"),
        v1!("resident_give_way"),
    ];
    for (request, file) in values::resident_requests().into_iter().zip(files) {
        all.push(golden("resident request", OTHERS + 12, request, b"", file));
    }
    all
}

fn to_masters() -> Vec<Golden> {
    let listing = values::store_reply_of_a_listing();
    let found = values::store_reply_of_an_image();
    let refusal = values::store_reply_of_a_failure();
    let (end, leaves) =
        (values::resident_reply_of_an_end(), values::resident_reply_of_a_hand_over());
    let lineage = values::resident_reply_of_a_lineage();
    vec![
        golden("need module", 0, values::need_module(), b"", v1!("need_module")),
        golden("started", 0, values::started(), b"", v1!("started")),
        golden("waiting", 0, values::waiting(), b"", v1!("waiting")),
        golden("loading", 0, values::loading(), b"", v1!("loading")),
        golden("queued", 0, values::queued(), b"", v1!("queued")),
        golden("need image", 0, values::need_image(), b"", v1!("need_image")),
        golden("need recipe", 0, values::need_recipe(), b"", v1!("need_recipe")),
        golden("image ready", 0, values::image_ready(), b"", v1!("image_ready")),
        golden("image gone", 0, values::image_gone(), b"", v1!("image_gone")),
        golden("snapshot", OTHERS + 9, values::snapshot(), b"\0asm\x01\0\0\0", v1!("snapshot")),
        golden("no snapshot", OTHERS + 9, values::no_snapshot(), b"", v1!("no_snapshot")),
        golden("done", 1, values::done(), b"\x05", v1!("done")),
        golden("done and kept", 4, values::done_kept(), b"", v1!("done_kept")),
        golden("located", OTHERS + 4, values::located(), b"", v1!("located")),
        golden("failed", 1, values::failed(), b"", v1!("failed")),
        golden("not allowed", 1, values::not_allowed(), b"", v1!("failed_not_allowed")),
        golden("returned", 0, values::returned(), b"", v1!("returned")),
        golden("log", 1, values::log(), b"", v1!("log")),
        golden("progress", 1, Progress { done: 3, total: 10 }, b"", v1!("progress")),
        golden("reply", OTHERS + 1, values::store_reply(), VALUE, v1!("store_reply")),
        golden("listing", OTHERS + 1, listing, b"", v1!("store_reply_of_a_listing")),
        golden("image found", OTHERS + 1, found, b"", v1!("store_reply_of_an_image")),
        golden("refusal", OTHERS + 1, refusal, b"", v1!("store_reply_of_a_failure")),
        golden("residents", OTHERS + 12, values::resident_reply(), b"", v1!("resident_reply")),
        golden("lineage", OTHERS + 12, lineage, b"", v1!("resident_reply_of_a_lineage")),
        golden("end of a resident", OTHERS + 12, end, b"", v1!("resident_reply_of_an_end")),
        golden(
            "hand over",
            OTHERS + 12,
            leaves,
            b"\x91\x06\x09",
            v1!("resident_reply_of_a_hand_over"),
        ),
        golden("reserved", OTHERS + 2, Reserved { granted: true }, b"", v1!("reserved")),
        golden("status", 0, values::status(), b"", v1!("status")),
        golden("draining", 0, Draining {}, b"", v1!("draining")),
        golden("changed", OTHERS + 4, values::changed(), b"", v1!("changed")),
        golden("description", OTHERS + 3, values::description(), b"", v1!("description")),
        golden(
            "description with a disk",
            OTHERS + 3,
            values::description_with_a_disk(),
            b"",
            v1!("description_with_a_disk"),
        ),
    ]
}

/// The kinds that `message::kind` declares, by number, read from its source: so none can
/// be added without being found here.
fn declared_kinds() -> BTreeMap<u8, String> {
    let source = include_str!("../src/message/kind.rs");
    let declared = source.lines().filter_map(|line| line.strip_prefix("pub const "));
    let mut kinds = BTreeMap::new();
    for line in declared {
        let (name, number) = line.split_once(": u8 = ").expect("NAME: u8 = NUMBER;");
        let number = number.trim_end_matches(';').parse().expect("a number");
        if let Some(other) = kinds.insert(number, name.to_owned()) {
            panic!("{name} and {other} have the same number");
        }
    }
    kinds
}

#[test]
fn every_kind_has_golden_bytes() {
    let covered: BTreeSet<u8> = goldens().iter().map(|golden| golden.kind).collect();
    let declared = declared_kinds();
    assert!(declared.len() >= 25, "the source was not read: {declared:?}");
    for (number, name) in &declared {
        assert!(covered.contains(number), "{name} ({number}) has no golden bytes");
    }
    assert_eq!(covered.len(), declared.len());
}

#[test]
fn the_version_has_golden_bytes() {
    assert_eq!((PROTOCOL.min, PROTOCOL.max), (1, 1), "a new version needs a new directory");
}

#[test]
fn what_is_written_are_the_golden_bytes() {
    for golden in goldens() {
        assert_eq!(golden.encoded, golden.bytes, "{}", golden.name);
    }
}

#[test]
fn the_golden_bytes_are_what_was_written() {
    for golden in goldens() {
        let frame = frame(&golden.bytes);
        assert_eq!(frame.header.kind, golden.kind, "{}", golden.name);
        assert_eq!((golden.is_value)(&frame), Ok(true), "{}", golden.name);
    }
}

#[test]
fn the_first_bytes_are_the_preface_and_the_hello() {
    for (hello, text) in [
        (values::hello_of_a_master(), v1!("hello_of_a_master")),
        (values::hello_of_a_slave(), v1!("hello_of_a_slave")),
        (values::hello_of_another_slave(), v1!("hello_of_another_slave")),
    ] {
        assert_eq!(hello.to_bytes(), Ok(hex(text)));
        assert!(hex(text).starts_with(&PREFACE));
    }
}

#[test]
fn a_stream_of_all_is_cut_where_each_ends() {
    let goldens = goldens();
    let stream: Vec<u8> = goldens.iter().flat_map(|golden| golden.bytes.clone()).collect();
    let mut decoder = FrameDecoder::new(MAX_BODY);
    let mut seen = 0;
    for byte in stream {
        decoder.space()[0] = byte;
        decoder.filled(1);
        while let Some(frame) = decoder.next_frame().expect("well formed") {
            assert_eq!((goldens[seen].is_value)(&frame), Ok(true), "{}", goldens[seen].name);
            seen += 1;
        }
    }
    assert_eq!((seen, decoder.buffered()), (goldens.len(), 0));
}

/// What is written for the authors of other implementations.
const PAGE: &str = include_str!("../../docs/protocol.md");

#[test]
fn the_page_has_a_row_for_every_kind() {
    for (number, name) in declared_kinds() {
        let row = format!("| {number} | `{name}` |");
        assert!(PAGE.contains(&row), "docs/protocol.md has no row {row}");
    }
}

#[test]
fn the_example_of_the_page_is_golden() {
    let (_, example) = PAGE.split_once("\n## An example\n").expect("the example");
    // The bytes stand between the margin and the column of the comments.
    let bytes = example.lines().filter_map(|line| line.strip_prefix("    "));
    let text: Vec<_> = bytes.map(|line| line.get(..49).unwrap_or(line)).collect();
    let golden = [v1!("hello_of_a_slave"), v1!("bind"), v1!("dispatch"), v1!("done")].map(hex);
    assert_eq!(hex(&text.join("\n")), golden.concat());
}
