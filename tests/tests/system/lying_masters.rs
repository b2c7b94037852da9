//! F41 to F43, F45, F48, F49: bytes that come to a slave's port and are no honest master's.

use super::scene::{Scene, dispatch};
use super::stage::unharmed;
use anyhow::{Context, Result};
use dpfw::Task;
use dpfw_protocol::error::Cause;
use dpfw_protocol::frame::Header;
use dpfw_protocol::hello::{PREFACE, Range, Role};
use dpfw_protocol::ids::ConversationId;
use dpfw_protocol::limits::{CHUNK, MAX_BODY};
use dpfw_protocol::message::{Failed, close, kind};
use dpfw_tests::lines::Lines;
use dpfw_tests::peer::{Wire, hello};
use dpfw_tests::wait::within;
use dpfw_tests::wasm::module;

#[tokio::test]
async fn f41_an_oversized_length_is_refused_on_the_header() -> Result<()> {
    let scene = Scene::start().await?;
    for len in [MAX_BODY as u32 + 1, u32::MAX] {
        let mut wire = scene.liar().await?;
        let (flags, conversation) = (0, ConversationId(1));
        let header = Header { len, kind: kind::DISPATCH, flags, conversation };
        // Nothing follows: the header alone is enough.
        wire.raw(&header.to_bytes()).await?;
        let words = format!("a frame of {len} bytes is announced, {MAX_BODY} are allowed");
        scene.refused(wire, "oversized", &words).await?;
    }
    // Before the hello even less is allowed.
    let mut wire = Wire::dial(&scene.pair.address).await?;
    let (kind, flags, conversation) = (kind::HELLO, 0, ConversationId::LINK);
    let header = Header { len: 4097, kind, flags, conversation };
    wire.raw(&[&PREFACE[..], &header.to_bytes()].concat()).await?;
    wire.preface().await?;
    scene.refused(wire, "a large hello", "4097 bytes is announced, 4096 are allowed").await?;
    scene.end().await
}

#[tokio::test]
async fn f42_malformed_truncated_and_trailing_bytes_are_refused() -> Result<()> {
    let scene = Scene::start().await?;
    let bodies: [(u8, &[u8], &str); 9] = [
        (kind::DISPATCH, &[], "is truncated"),
        (kind::DISPATCH, &[5], "is truncated"),
        (kind::DISPATCH, &[9, 0, 0x94], "is truncated"),
        (kind::DISPATCH, &[1, 0, 0xc1], "is malformed"),
        (kind::DISPATCH, &[1, 0, 0x94], "is malformed"),
        (kind::DISPATCH, &[6, 0, 0x94, 0, 0, 0xc0, 0, 0x07], "is malformed"),
        (kind::DISPATCH, &[6, 0, 0x95, 0, 0, 0xc0, 0, 0], "is malformed"),
        (kind::CANCEL, &[2, 0, 0xa1, b'x'], "is malformed"),
        (kind::RECALL, &[7, 0, 0x91, 0xdd, 0xff, 0xff, 0xff, 0xff, 0], "is malformed"),
    ];
    for (kind, body, words) in bodies {
        let mut wire = scene.liar().await?;
        wire.frame(kind, 1, body, true).await?;
        scene.refused(wire, &format!("{body:x?}"), words).await?;
    }
    let mut wire = scene.liar().await?;
    let header =
        Header { len: 0, kind: kind::HEARTBEAT, flags: 0, conversation: ConversationId(0) };
    let mut bytes = header.to_bytes();
    bytes[6] = 1;
    wire.raw(&bytes).await?;
    scene.refused(wire, "reserved bits", "reserved bits of a frame header are set").await?;
    // Cut off in the middle of a frame.
    let mut wire = scene.liar().await?;
    wire.raw(&bytes[..7]).await?;
    drop(wire);
    scene.end().await
}

#[tokio::test]
async fn f42_what_is_not_dpfw_at_all_is_told() -> Result<()> {
    let scene = Scene::start().await?;
    for bytes in [&b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..], &[0; 64], b"dpfw\n\n\x1a\nxxxx"] {
        let mut wire = Wire::dial(&scene.pair.address).await?;
        wire.raw(bytes).await?;
        wire.preface().await?;
        let closed = wire.closed().await?.context("closed in silence")?;
        assert_eq!(
            (closed.code, &*closed.reason),
            (close::REFUSED, "the peer does not speak dpfw")
        );
    }
    // A hello that is none.
    for body in [&[0xc1][..], &[], &[0x80], &[0x91; 200]] {
        let mut wire = Wire::dial(&scene.pair.address).await?;
        wire.raw(&PREFACE).await?;
        wire.frame(kind::HELLO, 0, body, false).await?;
        wire.preface().await?;
        let closed = wire.closed().await?.context("closed in silence")?;
        assert_eq!(closed.code, close::REFUSED, "{closed:?}");
        assert!(closed.reason.contains("the peer's hello cannot be read"), "{closed:?}");
    }
    unharmed(&scene.pair.master).await?;
    scene.end().await
}

#[tokio::test]
async fn f43_another_protocol_version_is_told_which_ones_are_spoken() -> Result<()> {
    let lines = Lines::capture();
    let scene = Scene::start().await?;
    let mut ours = hello(Role::Master, "f43")?;
    ours.protocol = Range { min: 5, max: 6 };
    let mut wire = Wire::dial(&scene.pair.address).await?;
    let theirs = wire.greet(&ours).await?;
    assert_eq!(theirs.protocol, Range { min: 1, max: 1 });
    let closed = wire.closed().await?.context("closed in silence")?;
    assert_eq!(closed.code, close::REFUSED);
    assert_eq!(closed.reason, "the peer speaks protocol 5 to 6, this side speaks 1");
    lines.wait_for(&["no link", "the peer speaks protocol 5 to 6, this side speaks 1"]).await?;
    let mut wire = Wire::dial(&scene.pair.address).await?;
    wire.greet(&hello(Role::Slave, "f43")?).await?;
    let closed = wire.closed().await?.context("closed in silence")?;
    assert!(closed.reason.contains("both ends of the link are slaves"), "{closed:?}");
    scene.end().await
}

#[tokio::test]
async fn f45_a_slow_handshake_is_given_up() -> Result<()> {
    let scene = Scene::start().await?;
    let mut wire = Wire::dial(&scene.pair.address).await?;
    wire.raw(&PREFACE[..3]).await?;
    let closed = wire.preface().await.map(|()| wire.closed());
    let closed = closed?.await?.context("closed in silence")?;
    assert!(closed.reason.contains("the handshake took longer than 2s"), "{closed:?}");
    scene.end().await
}

#[tokio::test]
async fn f48_deep_and_wide_messages_are_refused_before_they_are_built() -> Result<()> {
    let scene = Scene::start().await?;
    let message = |bytes: Vec<u8>| [&(bytes.len() as u16).to_le_bytes()[..], &bytes].concat();
    let deep = message(vec![0x91; 60_000]);
    let wide = message([&[0x91, 0xdc, 0x20, 0x00][..], &[1; 0x2000]].concat());
    let huge = message(vec![0x91, 0xdd, 0xff, 0xff, 0xff, 0xff]);
    for (what, kind, body, words) in [
        ("deep", kind::BIND, &deep, "is malformed"),
        ("deep", kind::DISPATCH, &deep, "is malformed"),
        ("wide", kind::RECALL, &wide, "is out of bounds"),
        ("huge", kind::RECALL, &huge, "is malformed"),
    ] {
        let mut wire = scene.liar().await?;
        wire.frame(kind, 0, body, true).await?;
        scene.refused(wire, what, words).await?;
    }
    // Deep arguments are the guest's own affair: it is told, or traps.
    let mut wire = scene.liar().await?;
    let args = [&[0x92][..], &[0x91; 16_000]].concat();
    wire.send(1, &dispatch(0, args.len() as u64), &args).await?;
    let cause: Cause = wire.expect::<Failed>().await?.1.failure.into();
    assert!(matches!(cause, Cause::BadArguments { .. }), "{cause}");
    drop(wire);
    scene.end().await
}

#[tokio::test]
async fn f48_deep_arguments_of_a_plain_function_are_refused() -> Result<()> {
    let scene = Scene::start().await?;
    let plain = module("(module (func (export \"f\") (param i32)))")?;
    let known = Task::<()>::new(plain.clone(), "f").call(&[1])?;
    within("the plain function", scene.pair.master.dispatch(known)).await??;
    let mut wire = scene.liar().await?;
    wire.bind(1, &plain, "f").await?;
    let wide = [&[0xdd, 0xff, 0xff, 0xff, 0xff][..], &[1; 16_000]].concat();
    for (id, args) in [(1, vec![0x91; 16_000]), (2, wide), (3, vec![0x81; 16_000])] {
        wire.send(id, &dispatch(1, args.len() as u64), &args).await?;
        let (answered, failed, _) = wire.expect::<Failed>().await?;
        let cause: Cause = failed.failure.into();
        assert!(matches!(cause, Cause::BadArguments { .. }), "{cause}");
        assert_eq!(answered, id);
    }
    drop(wire);
    scene.end().await
}

#[tokio::test]
async fn f49_payloads_that_are_not_as_announced_are_refused() -> Result<()> {
    let scene = Scene::start().await?;
    let chunk = vec![0u8; CHUNK];
    let announced = async |len: u64| -> Result<Wire> {
        let mut wire = scene.liar().await?;
        wire.announce(1, &dispatch(0, len)).await?;
        Ok(wire)
    };
    let mut wire = announced(100).await?;
    wire.frame(kind::CHUNK, 1, &[], false).await?;
    scene.refused(wire, "an empty chunk", "an empty chunk").await?;
    let mut wire = announced(100).await?;
    wire.frame(kind::CHUNK, 1, &chunk, false).await?;
    scene.refused(wire, "too many", "more bytes than were announced").await?;
    let mut wire = announced(100_000).await?;
    wire.frame(kind::CHUNK, 1, &chunk, true).await?;
    scene.refused(wire, "too few", "another length than announced").await?;
    let mut wire = scene.liar().await?;
    wire.send(1, &dispatch(0, 9), &[0x92, 2, 3]).await?;
    scene.refused(wire, "inline too few", "another length than announced").await?;
    let mut wire = announced(100).await?;
    wire.announce(2, &dispatch(0, 0)).await?;
    scene.refused(wire, "nothing in chunks", "").await?;
    scene.end().await
}
