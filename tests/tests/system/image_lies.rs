//! D9, F50: what masters and slaves say of images that no honest one would.

use super::scene::{Scene, dispatch};
use super::stage::unharmed;
use anyhow::{Context, Result, bail};
use dpfw::{
    ByteStream, CallExt, Cause, Limits, LinkedSlave, Master, ModuleHash, Origin, PeerId, Slave,
    Task, Transfer,
};
use dpfw_protocol::hello::Role;
use dpfw_protocol::ids::{BindId, ImageId};
use dpfw_protocol::message::{
    Bind, BindImage, Dispatch, Done, Failed, FetchImage, ImageBytes, ImageReady, NeedImage, Offer,
    Snapshot, StoreReply, StoreRequest, Timing, kind,
};
use dpfw_protocol::payload::Payload;
use dpfw_protocol::store::{EntryInfo, EntryKind, ImageInfo, Key, Principal, StoreOp};
use dpfw_test_tasks::{add, large, word, words};
use dpfw_tests::fleet::{Pair, arrival, slave};
use dpfw_tests::peer::{Wire, hello};
use dpfw_tests::wait::within;
use dpfw_tests::wasm::module;
use tempfile::TempDir;

/// What a slave gives as the snapshot that it announced.
const NONSENSE: &[u8] = b"no module at all";

/// Says that an image is ready whose snapshot is nonsense, and that the task is done that needs
/// it.
async fn pretend(liar: &mut Wire) -> Result<ImageId> {
    let mut image = None;
    loop {
        let said = liar.next().await?.context("the master is gone")?;
        match said.header.kind {
            kind::BIND_IMAGE => image = Some(said.read::<BindImage>()?.0.image),
            kind::DISPATCH => {
                said.read::<Dispatch>()?;
                let image = image.context("the task needs no image")?;
                let ready = ImageReady {
                    image,
                    origin: Origin::Built,
                    hash: ModuleHash::of(NONSENSE),
                    snapshot: NONSENSE.len() as u64,
                    memory: 1 << 20,
                    init_us: 1,
                    took_us: 1,
                    own: true,
                };
                liar.send(0, &ready, &[]).await?;
                let done = Done { timing: Timing::default(), payload: 1, kept: None };
                liar.send(said.header.conversation.0, &done, &[0xc0]).await?;
                return Ok(image);
            }
            kind::HEARTBEAT => {}
            other => bail!("kind {other} came"),
        }
    }
}

/// A master that has a slave who lies.
async fn lied_to() -> Result<(Master, Wire)> {
    let (stream, mut liar) = Wire::memory();
    let master = Master::builder().attach(stream).background().build().await?;
    liar.greet(&hello(Role::Slave, "liar")?).await?;
    arrival(&master, "liar").await?;
    Ok((master, liar))
}

/// An honest slave beside that one, with code of its own.
async fn beside(master: &Master) -> Result<(LinkedSlave, Slave, TempDir)> {
    let home = tempfile::tempdir()?;
    let own = slave("s1", 1)?.cache(home.path().join("cache")).build()?;
    let (ours, theirs) = ByteStream::pair(1 << 16);
    own.attach(theirs);
    master.attach(ours);
    Ok((arrival(master, "s1").await?, own, home))
}

/// Gives its snapshot, when the master asks for it.
async fn give(liar: &mut Wire) -> Result<FetchImage> {
    let (conversation, fetch, _) = liar.expect::<FetchImage>().await?;
    let snapshot = Snapshot { failure: None, payload: NONSENSE.len() as u64 };
    liar.send(conversation, &snapshot, NONSENSE).await?;
    Ok(fetch)
}

#[tokio::test]
async fn a_snapshot_that_is_refused_is_replaced_by_what_the_image_is_made_of() -> Result<()> {
    let (master, mut liar) = lied_to().await?;
    let init = words::call("built after all".into());
    let making = master.init(init).transfer(Transfer::Always).into_future();
    let (image, pretended) = tokio::join!(within("the image", making), pretend(&mut liar));
    let (image, pretended) = (image??, pretended?);
    assert_eq!(image.id(), pretended);
    let (honest, _own, _home) = beside(&master).await?;
    let mut handle = image.dispatch(word::call(0).on(&honest));
    let (word, given) = tokio::join!(within("the word", &mut handle), give(&mut liar));
    assert_eq!(given?.image, image.id());
    assert_eq!(word??.as_deref(), Some("built"));
    let used = handle.receipt().and_then(|receipt| receipt.image).context("no image")?;
    assert_eq!(used.origin, Origin::Built);
    Ok(())
}

#[tokio::test]
async fn a_task_that_needs_an_image_does_not_run_without_it_whatever_its_master_says() -> Result<()>
{
    let scene = Scene::start().await?;
    let other = large::call(1).recipe()?;
    within("the other's image", scene.pair.master.init(large::call(1)).into_future()).await??;
    let mut wire = scene.liar().await?;
    // Its own SDK would have told it so.
    wire.bind(1, word::task().module(), "word").await?;
    wire.bind_image(2, other.id, other.module.hash(), "word").await?;
    let told = ["`word` was dispatched without one", "`word` was given one of `large`"];
    for (attempt, message) in (1..).zip(told) {
        wire.send(attempt, &dispatch(attempt as u32, 2), &[0x91, 0]).await?;
        let (failed, outcome) = loop {
            let said = wire.next().await?.context("the link ended")?;
            if said.header.kind == kind::FAILED {
                break (said.header.conversation.0, said.read::<Failed>()?.0);
            }
        };
        assert_eq!(failed, attempt);
        let (init, message) = ("words".to_owned(), message.to_owned());
        assert_eq!(Cause::from(outcome.failure), Cause::NeedsImage { init, message });
    }
    drop(wire);
    scene.end().await
}

#[tokio::test]
async fn a_snapshot_that_was_refused_is_replaced_when_it_is_known_what_the_image_is_made_of()
-> Result<()> {
    let (master, mut liar) = lied_to().await?;
    let text = "known in the end";
    let args = Payload::from(rmp_serde::to_vec(&(text,))?);
    let module = word::task().module().hash();
    let id = ImageId::of(module, "words", &args);
    let told = async {
        let (conversation, request, _) = liar.expect::<StoreRequest>().await?;
        let StoreOp::Look { key } = request.op else { bail!("{request:?} is no look") };
        liar.send(conversation, &found(key, id, module)?, &[]).await
    };
    let (image, told) =
        tokio::join!(within("the look-up", master.image("index").into_future()), told);
    told?;
    let image = image??;
    let (honest, _own, _home) = beside(&master).await?;
    let task = within("its end", image.dispatch(word::call(0).on(&honest)));
    let (refused, given) = tokio::join!(task, give(&mut liar));
    given?;
    let error = refused?.expect_err("it is nonsense");
    assert!(error.to_string().contains("not WebAssembly"), "{error}");
    // Now somebody says what it is made of, and the slave makes it.
    let making = master.init(words::call(text.into())).transfer(Transfer::Never).into_future();
    let (made, pretended) = tokio::join!(within("the image", making), pretend(&mut liar));
    let made = made??;
    assert_eq!((made.id(), pretended?), (id, id));
    let word = within("the word", made.dispatch(word::call(0).on(&honest))).await??;
    assert_eq!(word.as_deref(), Some("known"));
    Ok(())
}

/// What the liar has under a key.
fn found(key: Key, id: ImageId, module: ModuleHash) -> Result<StoreReply> {
    let image = ImageInfo {
        id,
        module,
        init: "words".into(),
        hash: ModuleHash::of(NONSENSE),
        snapshot: NONSENSE.len() as u64,
        memory: 1 << 20,
        origin: Origin::Built,
        init_us: 1,
    };
    let entry = EntryInfo {
        key,
        kind: EntryKind::Image,
        bytes: image.memory,
        version: 1,
        idle_s: 0,
        owner: Principal(PeerId::new("liar")?),
        pinned: false,
        evictable: true,
        ttl_ms: None,
        image: Some(Box::new(image)),
    };
    let (entries, more, payload) = (vec![entry], false, 0);
    Ok(StoreReply { failure: None, hit: true, version: 1, entries, more, payload })
}

#[tokio::test]
async fn a_snapshot_that_is_refused_twice_ends_its_tasks_and_nothing_else() -> Result<()> {
    let scene = Scene::start().await?;
    let mut wire = scene.liar().await?;
    let image = ImageId::from_bytes([7; 32]);
    let module = add::task().module().hash();
    wire.bind_image(1, image, module, "add").await?;
    wire.send(1, &dispatch(1, 3), &[0x92, 2, 3]).await?;
    let offer = Offer::Snapshot { module, init: "words".into(), init_us: 1 };
    let sent = ImageBytes { image, offer, payload: NONSENSE.len() as u64 };
    for (refused, conversation) in [(false, 1 << 62), (true, 1 << 62 | 1)] {
        let (_, need, _) = wire.expect::<NeedImage>().await?;
        assert_eq!(need, NeedImage { image, refused });
        wire.send(conversation, &sent, NONSENSE).await?;
    }
    let (attempt, failed, _) = wire.expect::<Failed>().await?;
    assert_eq!(attempt, 1);
    assert!(failed.failure.message.contains("not WebAssembly"), "{failed:?}");
    // It is remembered, and costs no further transfer.
    wire.send(2, &dispatch(1, 3), &[0x92, 2, 3]).await?;
    assert_eq!(wire.expect::<Failed>().await?.0, 2);
    // A number may stand for another task from here on.
    let (task, module) = ("add".to_owned(), add::task().module().hash());
    let bind = Bind { bind: BindId(1), module, task, expects: None };
    wire.send(0, &bind, &[]).await?;
    wire.send(3, &dispatch(1, 3), &[0x92, 2, 3]).await?;
    let (attempt, _, result) = wire.expect::<Done>().await?;
    assert_eq!((attempt, &result[..]), (3, &[5][..]));
    drop(wire);
    scene.end().await
}

#[tokio::test]
async fn snapshots_that_are_refused_take_nobody_elses_place() -> Result<()> {
    let mut limits = Limits::default();
    limits.modules = 8;
    let pair = Pair::start(slave("s1", 1)?.limits(limits)).await?;
    unharmed(&pair.master).await?;
    let mut wire = Wire::master(&pair.address, "spammer").await?;
    for round in 0..20u8 {
        let image = ImageId::from_bytes([round; 32]);
        let module = add::task().module().hash();
        wire.bind_image(0, image, module, "add").await?;
        let attempt = u64::from(round) + 1;
        wire.send(attempt, &dispatch(0, 3), &[0x92, 2, 3]).await?;
        let offer = Offer::Snapshot { module, init: "words".into(), init_us: 1 };
        let offers = [(offer, NONSENSE), (Offer::Nothing, &[][..])];
        for (at, (offer, bytes)) in offers.into_iter().enumerate() {
            let (_, need, _) = wire.expect::<NeedImage>().await?;
            assert_eq!(need, NeedImage { image, refused: at == 1 });
            let sent = ImageBytes { image, offer, payload: bytes.len() as u64 };
            wire.send(1 << 62 | (2 * attempt + at as u64), &sent, bytes).await?;
        }
        let (failed, why, _) = wire.expect::<Failed>().await?;
        assert_eq!(failed, attempt);
        assert!(why.failure.message.contains("not WebAssembly"), "{why:?}");
    }
    // All are remembered of whom they are, so that they give way to others.
    let fresh = module("(module (func (export \"fresh\") (result i32) (i32.const 4711)))")?;
    let honest = pair.master.dispatch(Task::<i32>::new(fresh, "fresh").call(&[0; 0])?);
    assert_eq!(within("another master's module", honest).await??, 4711);
    drop(wire);
    unharmed(&pair.master).await
}
