//! D9: memory that is initialised once on a slave, and is there for every task.

use super::stage::unharmed;
use anyhow::{Context, Result};
use dpfw::{
    CallExt, Cause, Image, Limit, Limits, Master, Origin, Running, Slave, TaskHandle, Transfer,
};
use dpfw_test_tasks::{
    add, add_word, count_words, init_for_ever, init_that_asks_the_store, init_that_panics,
    init_without_end, large, numbers, square, sum, word, words,
};
use dpfw_tests::fleet::{self, Pair, arrival, listening, slave};
use dpfw_tests::lines::Lines;
use dpfw_tests::wait::{until, within};
use std::time::Duration;

/// An image of a text that no other test has.
pub(super) async fn image(master: &Master, text: &str) -> Result<Image> {
    Ok(within("the image", master.init(words::call(text.into())).into_future()).await??)
}

/// How often the image was made, as the log has it.
pub(super) fn made(lines: &Lines, image: &Image) -> usize {
    lines.with(&["an image is ready", &image.id().to_string()]).len()
}

#[tokio::test]
async fn d9_every_task_starts_from_the_memory_as_the_init_left_it() -> Result<()> {
    let Pair { master, .. } = &Pair::simple().await?;
    let image = image(master, "to be or not").await?;
    assert_eq!(image.dispatch(word::call(1)).await?.as_deref(), Some("be"));
    for _ in 0..3 {
        // What a task writes is its own.
        assert_eq!(image.dispatch(add_word::call("more".into())).await?, 5);
    }
    assert_eq!(image.dispatch(count_words::call()).await?, 4);
    assert_eq!(master.dispatch(count_words::call()).await?, 0, "a task without the image");
    let all = image.map(0..4, word::call).all().await?;
    assert_eq!(all.into_iter().flatten().collect::<Vec<_>>(), ["to", "be", "or", "not"]);
    unharmed(master).await
}

#[tokio::test]
async fn a_hundred_tasks_wait_for_one_build() -> Result<()> {
    let (lines, home) = (Lines::capture(), tempfile::tempdir()?);
    let (_slave, address) = listening(slave("s1", 2)?.cache(home.path().join("cache"))).await?;
    let one = fleet::master(&[&address]).await?;
    let two = fleet::master(&[&address]).await?;
    let text = "a hundred wait";
    // Both ask at once, and neither waits for the other.
    let (a, b) = tokio::join!(image(&one, text), image(&two, text));
    let (a, b) = (a?, b?);
    assert_eq!(a.id(), b.id());
    let handles = (0..50).flat_map(|_| [a.dispatch(word::call(2)), b.dispatch(word::call(2))]);
    for handle in handles.collect::<Vec<_>>() {
        assert_eq!(within("the word", handle).await??.as_deref(), Some("wait"));
    }
    assert_eq!(made(&lines, &a), 1);
    Ok(())
}

#[tokio::test]
async fn a_failed_init_is_told_to_all_and_not_repeated_until_asked() -> Result<()> {
    let lines = Lines::capture();
    let Pair { master, .. } = &Pair::simple().await?;
    let failing = || words::call("  ".into());
    let error = master.init(failing()).await.expect_err("there is no word");
    let Cause::InitFailed { init, message } = error.cause() else {
        panic!("{error}");
    };
    assert_eq!((init.as_str(), message.as_str()), ("words", "there is no word in it"));
    assert_eq!(error.task(), "words");
    let refused = || lines.with(&["refused", "there is no word in it"]).len();
    assert_eq!(refused(), 1);
    master.init(failing()).await.expect_err("it is remembered");
    assert_eq!(refused(), 1, "it was run again");
    master.init(failing()).afresh().await.expect_err("it fails again");
    assert_eq!(refused(), 2, "it was not run again");
    unharmed(master).await
}

#[tokio::test]
async fn an_init_is_run_afresh_once_on_each_slave_that_a_task_comes_to() -> Result<()> {
    let lines = Lines::capture();
    let home = tempfile::tempdir()?;
    // What it made of the init before it remembers, as its own memory is too small.
    let mut limits = Limits::default();
    limits.image_memory = 16 << 20;
    let second = slave("s2", 1)?.limits(limits).cache(home.path().join("s2"));
    let (second, address) = listening(second).await?;
    let init = || large::call(31);
    let refused = Cause::Limit { limit: Limit::ImageMemory, allowed: 16 << 20 };
    let runs = || lines.with(&["an image is refused", "image memory"]).len();
    let before = fleet::master(&[&address]).await?;
    for _ in 0..2 {
        let error = before.init(init()).await.expect_err("it is too large there");
        assert_eq!((error.cause(), runs()), (&refused, 1));
    }
    let running = Master::builder().listen("127.0.0.1:0").build_listening().await?;
    let Running { master, listening } = running;
    let dial = || fleet::dial(listening[0].to_string());
    let first = slave("s1", 1)?.cache(home.path().join("s1")).build()?;
    first.dial(dial());
    arrival(&master, "s1").await?;
    let making = master.init(init()).transfer(Transfer::Never).afresh();
    let image = within("the image", making.into_future()).await??;
    second.dial(dial());
    let there = arrival(&master, "s2").await?;
    for _ in 0..3 {
        let error = image.dispatch(sum::call().on(&there)).await.expect_err("it is too large");
        assert_eq!((error.cause(), runs()), (&refused, 2), "once more, and not again");
    }
    assert!(image.dispatch(sum::call()).await? > 0);
    Ok(())
}

#[tokio::test]
async fn f24_an_endless_init_ends_at_its_limit() -> Result<()> {
    let mut limits = Limits::default();
    limits.image_time = Duration::from_millis(200);
    let Pair { master, .. } = &Pair::start(slave("s1", 1)?.limits(limits)).await?;
    let error = master
        .init(init_for_ever::call("for a moment".into()))
        .await
        .expect_err("it never returns");
    let expected = Cause::Limit { limit: Limit::ImageTime, allowed: 200 };
    assert_eq!(*error.cause(), expected);
    unharmed(master).await
}

#[tokio::test]
async fn f24_an_init_that_nobody_waits_for_is_stopped() -> Result<()> {
    let lines = Lines::capture();
    let Pair { master, .. } = &Pair::simple().await?;
    let word = "nobody waits for me";
    let said = async { lines.wait_for(&[word]).await };
    tokio::select! {
        made = master.init(init_for_ever::call(word.into())).into_future() => {
            panic!("it never returns: {made:?}");
        }
        line = said => drop(line?),
    }
    lines.wait_for(&["refused", "nobody waited for the image while it was built"]).await?;
    unharmed(master).await
}

#[tokio::test]
async fn f26_an_init_has_memory_of_its_own_limit() -> Result<()> {
    let mut limits = Limits::default();
    (limits.image_memory, limits.memory) = (64 << 20, 16 << 20);
    let Pair { master, .. } = &Pair::start(slave("s1", 1)?.limits(limits)).await?;
    let error = master.init(init_without_end::call(100)).await.expect_err("too much");
    let expected = Cause::Limit { limit: Limit::ImageMemory, allowed: 64 << 20 };
    assert_eq!(*error.cause(), expected);
    // More than a task may have, and its tasks may have that much more.
    let image = master.init(large::call(32)).await?;
    assert!(image.dispatch(sum::call()).await? > 0);
    unharmed(master).await
}

#[tokio::test]
async fn f29_an_init_that_panics_says_so() -> Result<()> {
    let Pair { master, .. } = &Pair::simple().await?;
    let error = master.init(init_that_panics::call("no luck".into())).await.expect_err("it does");
    let Cause::InitFailed { init, message } = error.cause() else {
        panic!("{error}");
    };
    assert_eq!(init, "init_that_panics");
    assert!(message.contains("panicked at") && message.contains("no luck"), "{message}");
    unharmed(master).await
}

#[tokio::test]
async fn an_init_sees_nothing_of_the_store() -> Result<()> {
    let Pair { master, .. } = &Pair::simple().await?;
    let error = master.init(init_that_asks_the_store::call()).await.expect_err("it asks");
    assert!(error.to_string().contains("an init sees nothing of the store"), "{error}");
    Ok(())
}

#[tokio::test]
async fn a_task_is_refused_without_its_image_before_anything_runs() -> Result<()> {
    let Pair { master, .. } = &Pair::simple().await?;
    let without: TaskHandle<_> = master.dispatch(word::call(0));
    let error = without.await.expect_err("no image");
    assert!(matches!(error.cause(), Cause::NeedsImage { init, .. } if init == "words"), "{error}");
    assert_eq!(error.slave(), None);
    let other = master.init(large::call(1)).await?;
    let error = other.dispatch(word::call(0)).await.expect_err("another image");
    assert!(error.to_string().contains("was given one of `large`"), "{error}");
    // Any task may start from any image of its module.
    assert_eq!(other.dispatch(add::call(2, 3)).await?, 5);
    assert_eq!(master.dispatch(add::call(2, 3).image(&other)).await?, 5);
    Ok(())
}

#[tokio::test]
async fn a_receipt_says_how_the_image_came() -> Result<()> {
    let Pair { master, .. } = &Pair::simple().await?;
    // Not by `init`, so that a task is the first that needs it.
    let image = master.init(words::call("of receipts".into())).await?;
    let places = image.places().await;
    let [place] = &places[..] else { panic!("{places:?}") };
    assert!(matches!(place.origin, Origin::Built | Origin::Kept) && place.memory_bytes > 0);
    let mut handle = image.dispatch(word::call(0));
    (&mut handle).await?;
    let used = handle.receipt().and_then(|receipt| receipt.image).context("no image")?;
    assert_eq!((used.origin, used.took), (Origin::There, Duration::ZERO));
    let mut handle = master.dispatch(add::call(1, 1));
    (&mut handle).await?;
    assert_eq!(handle.receipt().and_then(|receipt| receipt.image), None);
    Ok(())
}

#[tokio::test]
async fn a_slave_that_comes_builds_it_at_its_first_task() -> Result<()> {
    let lines = Lines::capture();
    let running = Master::builder().listen("127.0.0.1:0").build_listening().await?;
    let Running { master, listening } = running;
    let address = listening[0].to_string();
    let home = tempfile::tempdir()?;
    let start = |name: &str| -> Result<Slave> {
        let slave = slave(name, 1)?.cache(home.path().join(name)).build()?;
        slave.dial(fleet::dial(&address));
        Ok(slave)
    };
    let first = start("s1")?;
    arrival(&master, "s1").await?;
    let init = words::call("slaves that come".into());
    let image = within("the image", master.init(init).transfer(Transfer::Never).into_future());
    let image = image.await??;
    assert_eq!(made(&lines, &image), 1);
    drop(first);
    let second = start("s2")?;
    let linked = arrival(&master, "s2").await?;
    assert_eq!(made(&lines, &image), 1, "nothing needed it");
    let mut handle = image.dispatch(word::call(0).on(&linked));
    assert_eq!(within("the word", &mut handle).await??.as_deref(), Some("slaves"));
    let used = handle.receipt().and_then(|receipt| receipt.image).context("no image")?;
    assert_eq!(used.origin, Origin::Built);
    assert!(used.took > Duration::ZERO);
    assert_eq!(made(&lines, &image), 2);
    drop(second);
    Ok(())
}

#[tokio::test]
async fn everywhere_is_also_where_slaves_come_later() -> Result<()> {
    let lines = Lines::capture();
    let running = Master::builder().listen("127.0.0.1:0").build_listening().await?;
    let Running { master, listening } = running;
    let address = listening[0].to_string();
    let home = tempfile::tempdir()?;
    let start = |name: &str| -> Result<Slave> {
        let slave = slave(name, 1)?.cache(home.path().join(name)).build()?;
        slave.dial(fleet::dial(&address));
        Ok(slave)
    };
    let _slaves = [start("s1")?, start("s2")?];
    arrival(&master, "s1").await?;
    arrival(&master, "s2").await?;
    let init = words::call("is everywhere".into());
    let making = master.init(init).everywhere().transfer(Transfer::Never);
    let image = within("the image", making.into_future()).await??;
    assert_eq!(made(&lines, &image), 2);
    let _third = start("s3")?;
    until("the third to have it", async || {
        Ok(image.places().await.iter().any(|place| place.slave.as_str() == "s3"))
    })
    .await?;
    assert_eq!(made(&lines, &image), 3);
    Ok(())
}

#[tokio::test]
async fn an_image_is_made_once_and_sent_and_is_the_same() -> Result<()> {
    let home = tempfile::tempdir()?;
    let start = async |name: &str| listening(slave(name, 1)?.cache(home.path().join(name))).await;
    let (one, two, three) = (start("s1").await?, start("s2").await?, start("s3").await?);
    let master = fleet::master(&[&one.1, &two.1]).await?;
    let init = || words::call("made once and sent".into());
    let image = master.init(init()).transfer(Transfer::Always).await?;
    let [first] = &image.places().await[..] else { panic!("one has built it") };
    assert_eq!(first.origin, Origin::Built);
    let other = master.slaves().into_iter().find(|s| *s.name() != first.slave);
    let other = other.context("two slaves are linked")?;
    let mut handle = image.dispatch(word::call(3).on(&other));
    assert_eq!(within("the word", &mut handle).await??.as_deref(), Some("sent"));
    let used = handle.receipt().and_then(|receipt| receipt.image).context("no image")?;
    assert_eq!(used.origin, Origin::Sent);
    assert!(used.took > Duration::ZERO);
    let hashes: Vec<_> = image.places().await.iter().map(|place| place.hash).collect();
    assert_eq!(hashes, [first.hash; 2]);
    // A third builds it again, for another master, and it is the same.
    let again = fleet::master(&[&three.1]).await?;
    let rebuilt = again.init(init()).await?;
    let [place] = &rebuilt.places().await[..] else { panic!("one has built it") };
    assert_eq!((place.origin, place.hash), (Origin::Built, first.hash));
    Ok(())
}

#[tokio::test]
async fn what_one_master_sends_is_not_what_another_gets() -> Result<()> {
    let lines = Lines::capture();
    let home = tempfile::tempdir()?;
    let start = async |name: &str| listening(slave(name, 1)?.cache(home.path().join(name))).await;
    let (one, two) = (start("s1").await?, start("s2").await?);
    let init = || words::call("of two masters".into());
    let sender = fleet::master(&[&one.1, &two.1]).await?;
    let image = sender.init(init()).transfer(Transfer::Always).everywhere().await?;
    let sent = image.places().await.into_iter().find(|place| place.origin == Origin::Sent);
    let sent = sent.context("one was sent it")?.slave;
    let address = if sent.as_str() == "s1" { &one.1 } else { &two.1 };
    assert_eq!(made(&lines, &image), 2);
    let other = fleet::master(&[address]).await?;
    let own = other.init(init()).await?;
    let [place] = &own.places().await[..] else { panic!("one has built it") };
    assert_eq!(place.origin, Origin::Built);
    assert_eq!(own.dispatch(word::call(2)).await?.as_deref(), Some("masters"));
    Ok(())
}

#[tokio::test]
async fn a_restarted_slave_has_its_images() -> Result<()> {
    let home = tempfile::tempdir()?;
    let start = async || Pair::start(slave("s1", 1)?.cache(home.path().join("cache"))).await;
    let init = || words::call("kept on disk".into());
    let origins = async || -> Result<Origin> {
        let Pair { master, slave, .. } = start().await?;
        let image = master.init(init()).await?;
        assert_eq!(image.dispatch(word::call(0)).await?.as_deref(), Some("kept"));
        let places = image.places().await;
        drop((master, slave));
        Ok(places.first().context("it is there")?.origin)
    };
    assert_eq!([origins().await?, origins().await?], [Origin::Built, Origin::Kept]);
    Ok(())
}

#[tokio::test]
async fn f53_an_image_that_was_changed_on_disk_is_built_afresh() -> Result<()> {
    let home = tempfile::tempdir()?;
    let cache = home.path().join("cache");
    let start = async || Pair::start(slave("s1", 1)?.cache(&cache)).await;
    let run = async || -> Result<Origin> {
        let Pair { master, slave, .. } = start().await?;
        let image = master.init(words::call("changed on disk".into())).await?;
        assert_eq!(image.dispatch(word::call(0)).await?.as_deref(), Some("changed"));
        let places = image.places().await;
        drop((master, slave));
        Ok(places.first().context("it is there")?.origin)
    };
    assert_eq!(run().await?, Origin::Built);
    let mut changed = 0;
    for dir in std::fs::read_dir(&cache)?.filter_map(Result::ok).filter(|d| d.path().is_dir()) {
        for file in std::fs::read_dir(dir.path())?.filter_map(Result::ok) {
            let path = file.path();
            let name = file.file_name().to_string_lossy().into_owned();
            if name.starts_with("image-") && name.ends_with(".code") {
                let mut bytes = std::fs::read(&path)?;
                let last = bytes.len() - 1;
                bytes[last] ^= 1;
                std::fs::write(&path, bytes)?;
                changed += 1;
            }
        }
    }
    assert_eq!(changed, 1);
    assert_eq!(run().await?, Origin::Built);
    Ok(())
}

#[tokio::test]
async fn an_init_may_draw_randomness() -> Result<()> {
    let Pair { master, .. } = &Pair::simple().await?;
    let image = master.init(numbers::call(1000)).await?;
    assert_eq!(image.dispatch(square::call(31)).await?, Some(961));
    assert_eq!(image.dispatch(square::call(1000)).await?, None);
    Ok(())
}

#[tokio::test]
async fn where_memory_is_short_images_are_made_one_after_the_other() -> Result<()> {
    let mut limits = Limits::default();
    // Each needs more than all of it.
    limits.image_building = 1;
    let home = tempfile::tempdir()?;
    let slave = slave("s1", 1)?.limits(limits).cache(home.path().join("cache"));
    let (_slave, address) = listening(slave).await?;
    let (one, two) = (fleet::master(&[&address]).await?, fleet::master(&[&address]).await?);
    let text = |n: u32| format!("in turn {n}");
    // Three of each master's: more than are made at once.
    let made = (0..6).map(|n| {
        let master = if n % 2 == 0 { &one } else { &two };
        async move { image(master, &text(n)).await.map(|image| (n, image)) }
    });
    let made = futures_util::future::try_join_all(made);
    for (n, image) in within("six images", made).await?? {
        let word = image.dispatch(word::call(2)).await?;
        assert_eq!(word, Some(n.to_string()));
    }
    Ok(())
}
