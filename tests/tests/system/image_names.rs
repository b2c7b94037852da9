//! D9: images by their names, for masters that did not make them.

use super::stage::unharmed;
use anyhow::{Context, Result};
use dpfw::{
    CallExt, Cause, Image, Limits, LinkedSlave, LookupError, Master, Module, ModuleHash, Namespace,
    Origin, Running, Slave, Task, TaskError, Transfer,
};
use dpfw_test_tasks::{add, add_word, count_words, large, numbers, sum, word, words};
use dpfw_tests::fleet::{self, Pair, linked, listening, slave};
use dpfw_tests::lines::Lines;
use dpfw_tests::wait::within;
use std::time::Duration;
use tempfile::TempDir;

/// Two slaves that share nothing on disk, and a master of the first alone.
struct Two {
    first: Master,
    addresses: [String; 2],
    _slaves: [Slave; 2],
    _home: TempDir,
}

impl Two {
    async fn start() -> Result<Self> {
        let home = tempfile::tempdir()?;
        let start =
            async |name: &str| listening(slave(name, 1)?.cache(home.path().join(name))).await;
        let ((one, a), (two, b)) = (start("s1").await?, start("s2").await?);
        let first = fleet::master(&[&a]).await?;
        Ok(Self { first, addresses: [a, b], _slaves: [one, two], _home: home })
    }

    /// Another master, of both.
    async fn second(&self) -> Result<Master> {
        fleet::master(&self.addresses).await
    }
}

pub(super) async fn named(master: &Master, text: &str, key: &str) -> Result<Image> {
    let init = master.init(words::call(text.into())).named(key);
    Ok(within("the image", init.into_future()).await??)
}

pub(super) async fn look(master: &Master, key: &str) -> Result<Image, LookupError> {
    let found = within("the look-up", master.image(key).into_future()).await;
    found.expect("slaves answer")
}

/// A word of the image, of a task on that slave, and how the image came there.
pub(super) async fn word_on(
    image: &Image,
    n: u32,
    slave: &LinkedSlave,
) -> Result<(Option<String>, Origin)> {
    let mut handle = image.dispatch(word::call(n).on(slave));
    let word = within("the word", &mut handle).await??;
    let used = handle.receipt().and_then(|receipt| receipt.image).context("no image")?;
    Ok((word, used.origin))
}

/// The keys of a slave's store.
pub(super) async fn keys(slave: &LinkedSlave) -> Result<Vec<String>> {
    Ok(slave.store().list("").await?.into_iter().map(|entry| entry.key).collect())
}

fn gone(error: &TaskError, key: &str) {
    let expected = Cause::ImageGone { image: key.into() };
    assert_eq!(*error.cause(), expected, "{error}");
    assert!(error.to_string().contains("is gone"), "{error}");
}

#[tokio::test]
async fn another_master_finds_an_image_by_its_name_and_runs_tasks_on_it() -> Result<()> {
    let Pair { master, address, slave } = Pair::simple().await?;
    let image = named(&master, "found by another", "index").await?;
    let other = fleet::master(&[&address]).await?;
    let found = look(&other, "index").await?;
    assert_eq!((found.id(), found.init(), found.module()), (image.id(), "words", image.module()));
    assert_eq!(found.dispatch(word::call(0)).await?.as_deref(), Some("found"));
    assert_eq!(found.dispatch(add_word::call("more".into())).await?, 4);
    assert_eq!(other.dispatch(count_words::call().image(&found)).await?, 3);
    let all = found.map(0..3, word::call).all().await?;
    assert_eq!(all.into_iter().flatten().collect::<Vec<_>>(), ["found", "by", "another"]);
    let [place] = &found.places().await[..] else { panic!("one slave has it") };
    assert_eq!((place.origin, place.slave.as_str()), (Origin::There, "s1"));
    // As it is for its maker, who may look it up as well.
    assert_eq!(look(&master, "index").await?.id(), image.id());
    // The first master is gone, and the image is not.
    drop((image, master));
    assert_eq!(found.dispatch(word::call(1)).await?.as_deref(), Some("by"));
    let third = fleet::master(&[&address]).await?;
    let found = look(&third, "index").await?;
    assert_eq!(found.dispatch(word::call(2)).await?.as_deref(), Some("another"));
    drop(slave);
    Ok(())
}

#[tokio::test]
async fn a_task_has_to_be_of_the_module_and_the_init_of_the_image_that_was_found() -> Result<()> {
    let Pair { master, address, .. } = &Pair::simple().await?;
    named(master, "of words", "index").await?;
    let other = fleet::master(&[address]).await?;
    let found = look(&other, "index").await?;
    let error = found.dispatch(sum::call()).await.expect_err("it needs another image");
    assert!(matches!(error.cause(), Cause::NeedsImage { init, .. } if init == "large"), "{error}");
    assert!(error.to_string().contains("was given one of `words`"), "{error}");
    let stranger = Task::<i64>::new(Module::new(&b"\0asm\x01\0\0\0"[..]), "add");
    let error = found.dispatch(stranger.call(&(2, 3))?).await.expect_err("of another module");
    assert!(error.to_string().contains("the image is of module"), "{error}");
    assert_eq!(error.attempts(), 0);
    assert_eq!(found.dispatch(add::call(2, 3)).await?, 5, "any task of the module may");
    unharmed(master).await
}

#[tokio::test]
async fn a_slave_that_lacks_an_image_that_was_found_is_sent_it() -> Result<()> {
    let two = Two::start().await?;
    let image = named(&two.first, "sent on demand", "index").await?;
    let second = two.second().await?;
    let (s1, s2) = (linked(&second, "s1")?, linked(&second, "s2")?);
    let found = look(&second, "index").await?;
    let sent = word_on(&found, 0, &s2).await?;
    assert_eq!((sent.0.as_deref(), sent.1), (Some("sent"), Origin::Sent));
    assert_eq!(word_on(&found, 1, &s1).await?, (Some("on".into()), Origin::There));
    let hashes: Vec<_> = found.places().await.iter().map(|place| place.hash).collect();
    assert_eq!(hashes, [image.places().await[0].hash; 2]);
    // There it has a name of its own, and serves its sender alone.
    let [entry] = &s2.store().list("").await?[..] else { panic!("one entry") };
    let listed = entry.image.as_ref().context("an image")?;
    assert_eq!((listed.id, listed.origin, &*listed.init), (image.id(), Origin::Sent, "words"));
    assert!(entry.key.contains(entry.owner.as_str()) && entry.key.starts_with("words "));
    let third = fleet::master(&[&two.addresses[1]]).await?;
    let error = look(&third, &entry.key).await.expect_err("it is not for everybody");
    let LookupError::NotShared { key, slave, owner } = &error else { panic!("{error}") };
    assert_eq!((key, slave.as_str(), owner), (&entry.key, "s2", &entry.owner));
    // Its sender may look it up there all the same.
    let again = second.image(&entry.key).on(&s2).await?;
    assert_eq!(again.id(), image.id());
    Ok(())
}

#[tokio::test]
async fn a_sent_image_is_of_the_init_that_made_it() -> Result<()> {
    let two = Two::start().await?;
    let init = two.first.init(large::call(1)).named("large");
    within("the image", init.into_future()).await??;
    let second = two.second().await?;
    let found = look(&second, "large").await?;
    // The module has other inits, and tasks that need those.
    let there = linked(&second, "s2")?;
    let handle = found.dispatch(sum::call().on(&there));
    assert_eq!(within("the sum", handle).await??, 512 * 256 * 257 / 2);
    Ok(())
}

#[tokio::test]
async fn what_nobody_has_is_not_found() -> Result<()> {
    let Pair { master, address, .. } = &Pair::simple().await?;
    let error = look(master, "index").await.expect_err("nobody has it");
    assert_eq!(error, LookupError::Absent { key: "index".into(), asked: 1 });
    assert!(error.to_string().contains("`index`") && error.to_string().contains("named"));
    // In another namespace it is not there either.
    named(master, "here and not there", "index").await?;
    let elsewhere = Master::builder().namespace(Namespace::new("elsewhere")?).slave(address);
    let elsewhere = within("the link", elsewhere.build()).await??;
    let error = look(&elsewhere, "index").await.expect_err("another namespace");
    assert!(matches!(error, LookupError::Absent { .. }), "{error}");
    let Running { master: lonely, .. } =
        Master::builder().listen("127.0.0.1:0").build_listening().await?;
    let error = look(&lonely, "index").await.expect_err("nobody to ask");
    assert_eq!(error, LookupError::NoSlaves { key: "index".into() });
    let error = look(master, "").await.expect_err("no key");
    assert!(matches!(error, LookupError::BadKey { .. }), "{error}");
    Ok(())
}

#[tokio::test]
async fn a_value_is_no_image() -> Result<()> {
    let pair = &Pair::simple().await?;
    let slave = pair.linked()?;
    slave.store().put("index", "a value").await?;
    let error = look(&pair.master, "index").await.expect_err("a value");
    let LookupError::WrongKind { key, slave: at, kind } = &error else { panic!("{error}") };
    assert_eq!((&**key, at.as_str(), kind.as_str()), ("index", "s1", "value"));
    // Nor does an image take its place.
    let error = pair.master.init(words::call("in vain".into())).named("index").await;
    let error = error.expect_err("the key holds a value");
    assert!(matches!(error.cause(), Cause::WrongKind { key, .. } if key == "index"), "{error}");
    assert!(error.to_string().contains("holds a value"), "{error}");
    // Whether it has to be made for that, or is there under another name.
    named(&pair.master, "in vain", "elsewhere").await?;
    let error = pair.master.init(words::call("in vain".into())).named("index").await;
    let error = error.expect_err("the key holds a value");
    assert!(matches!(error.cause(), Cause::WrongKind { key, .. } if key == "index"), "{error}");
    assert_eq!(keys(&slave).await?, ["elsewhere", "index"]);
    let found = look(&pair.master, "elsewhere").await?;
    assert_eq!(found.dispatch(word::call(1)).await?.as_deref(), Some("vain"));
    Ok(())
}

#[tokio::test]
async fn different_images_under_one_name_are_told_apart() -> Result<()> {
    let two = Two::start().await?;
    let one = named(&two.first, "of the first", "index").await?;
    let of_second = fleet::master(&[&two.addresses[1]]).await?;
    let other = named(&of_second, "of the second", "index").await?;
    let both = two.second().await?;
    let error = look(&both, "index").await.expect_err("there are two");
    let LookupError::Differ { key, images } = &error else { panic!("{error}") };
    let mut images = images.clone();
    images.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(key, "index");
    assert_eq!(images.iter().map(|(_, id)| *id).collect::<Vec<_>>(), [one.id(), other.id()]);
    let s2 = linked(&both, "s2")?;
    let chosen = within("the look-up", both.image("index").on(&s2).into_future()).await??;
    assert_eq!(chosen.id(), other.id());
    assert_eq!(chosen.dispatch(word::call(2)).await?.as_deref(), Some("second"));
    // A look-up replaces nothing, wherever its tasks run.
    let s1 = linked(&both, "s1")?;
    assert_eq!(word_on(&chosen, 2, &s1).await?, (Some("second".into()), Origin::Sent));
    assert_eq!(both.image("index").on(&s1).await?.id(), one.id());
    Ok(())
}

#[tokio::test]
async fn tasks_on_an_image_that_is_gone_everywhere_say_so() -> Result<()> {
    let home = tempfile::tempdir()?;
    let cache = home.path().join("cache");
    let mut limits = Limits::default();
    limits.store_bytes = 8 << 20;
    let Pair { master, address, slave: _slave } =
        Pair::start(slave("s1", 1)?.cache(&cache).limits(limits)).await?;
    named(&master, "evicted later", "index").await?;
    drop(master);
    let other = fleet::master(&[&address]).await?;
    let found = look(&other, "index").await?;
    assert_eq!(found.dispatch(word::call(0)).await?.as_deref(), Some("evicted"));
    let there = linked(&other, "s1")?;
    there.store().put("large", &vec![0u8; (8 << 20) - 4096]).await?;
    assert_eq!(keys(&there).await?, ["large"]);
    assert!(there.store().remove("large").await?);
    // What was evicted is on disk still, under whatever name; what is removed is not.
    assert_eq!(found.dispatch(word::call(0)).await?.as_deref(), Some("evicted"));
    let [own] = &keys(&there).await?[..] else { panic!("one entry") };
    assert!(there.store().remove(own).await?);
    let error = within("the end", found.dispatch(word::call(0))).await?.expect_err("it is gone");
    gone(&error, "index");
    let error = within("the end", found.dispatch(word::call(0).on(&there))).await?;
    gone(&error.expect_err("it is gone"), "index");
    assert_eq!(other.dispatch(add::call(2, 3)).await?, 5);
    Ok(())
}

#[tokio::test]
async fn an_image_that_was_removed_is_built_anew_and_one_that_was_evicted_is_not() -> Result<()> {
    let home = tempfile::tempdir()?;
    let mut limits = Limits::default();
    limits.store_bytes = 8 << 20;
    let slave = slave("s1", 1)?.limits(limits).cache(home.path().join("cache"));
    let pair = Pair::start(slave.keep_image_names(true)).await?;
    let store = pair.linked()?.store();
    // Its init draws randomness: whenever it is run it is another image.
    let build = async |key: &str| -> Result<(Origin, ModuleHash)> {
        let init = pair.master.init(numbers::call(100)).named(key);
        let image = within("the image", init.into_future()).await??;
        let place = image.places().await.into_iter().next().context("it is there")?;
        Ok((place.origin, place.hash))
    };
    let (origin, first) = build("one").await?;
    assert_eq!(origin, Origin::Built);
    store.put("large", &vec![0u8; (8 << 20) - 4096]).await?;
    assert_eq!(keys(&pair.linked()?).await?, ["large"]);
    assert!(store.remove("large").await?);
    assert_eq!(build("one").await?, (Origin::Kept, first));
    // It goes with its last name.
    build("two").await?;
    assert!(store.remove("one").await?);
    let there = pair.master.init(numbers::call(100));
    assert_eq!(within("the image", there.into_future()).await??.places().await[0].hash, first);
    assert_eq!(keys(&pair.linked()?).await?, ["two"]);
    assert!(store.remove("two").await?);
    let (origin, second) = build("one").await?;
    assert_eq!(origin, Origin::Built);
    assert_ne!(first, second);
    // Another takes its name, and it is on disk still.
    named(&pair.master, "takes its name", "one").await?;
    assert_eq!(build("two").await?, (Origin::Kept, second));
    Ok(())
}

#[tokio::test]
async fn to_a_task_an_image_is_an_entry_like_any_other() -> Result<()> {
    let pair = &Pair::simple().await?;
    named(&pair.master, "seen by guests", "seen/image").await?;
    pair.linked()?.store().put("seen/value", &1).await?;
    let seen = pair.master.dispatch(dpfw_test_tasks::keys::call("seen/".into()));
    assert_eq!(within("the listing", seen).await??, ["seen/image", "seen/value"]);
    Ok(())
}

#[tokio::test]
async fn an_image_has_every_name_that_masters_gave_it() -> Result<()> {
    let pair = &Pair::simple().await?;
    let there = pair.linked()?;
    let init = || words::call("of many names".into());
    let image = within("the image", pair.master.init(init()).into_future()).await??;
    let [own] = &keys(&there).await?[..] else { panic!("one entry") };
    assert!(own.starts_with("words "), "{own}");
    // A name takes the place of the slave's own; another stands beside it.
    named(&pair.master, "of many names", "first").await?;
    assert_eq!(keys(&there).await?, ["first"]);
    named(&pair.master, "of many names", "second").await?;
    assert_eq!(keys(&there).await?, ["first", "second"]);
    for key in ["first", "second"] {
        assert_eq!(look(&pair.master, key).await?.id(), image.id());
    }
    // It is there as long as it has a name, and a name that was taken from it is given again.
    assert!(there.store().remove("first").await?);
    assert_eq!(word_on(&image, 1, &there).await?, (Some("many".into()), Origin::There));
    named(&pair.master, "of many names", "first").await?;
    assert_eq!(keys(&there).await?, ["first", "second"]);
    Ok(())
}

#[tokio::test]
async fn images_that_masters_send_do_not_push_each_other_out() -> Result<()> {
    let lines = Lines::capture();
    let two = Two::start().await?;
    let image = named(&two.first, "sent by two", "index").await?;
    let masters = [two.second().await?, two.second().await?];
    let mut found = Vec::new();
    for master in &masters {
        found.push((look(master, "index").await?, linked(master, "s2")?));
    }
    for _ in 0..3 {
        for (image, there) in &found {
            let (word, _) = word_on(image, 2, there).await?;
            assert_eq!(word.as_deref(), Some("two"));
        }
    }
    // It was built by one slave, and sent to the other once by each master.
    assert_eq!(lines.with(&["an image is ready", &image.id().to_string()]).len(), 3);
    Ok(())
}

#[tokio::test]
async fn an_image_that_goes_again_and_again_is_sent_again() -> Result<()> {
    let two = Two::start().await?;
    named(&two.first, "again and again", "index").await?;
    let second = two.second().await?;
    let there = linked(&second, "s2")?;
    let found = look(&second, "index").await?;
    // More often than a slave may ask for what it does not take.
    for _ in 0..10 {
        let (word, origin) = word_on(&found, 2, &there).await?;
        assert_eq!((word.as_deref(), origin), (Some("again"), Origin::Sent));
        for key in keys(&there).await? {
            assert!(there.store().remove(&key).await?);
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_task_on_an_image_may_need_entries_as_well() -> Result<()> {
    let two = Two::start().await?;
    let master = two.second().await?;
    let init = master.init(words::call("and entries".into())).transfer(Transfer::Never);
    let image = within("the image", init.into_future()).await??;
    let [at] = &image.places().await[..] else { panic!("one slave has it") };
    let other = master.slaves().into_iter().find(|slave| *slave.name() != at.slave);
    let other = other.context("two are linked")?;
    other.store().put("part", &1).await?;
    // It runs where the entry is, though the image is elsewhere.
    let mut handle = image.dispatch(word::call(1).near("part"));
    let timeout = Duration::from_secs(60);
    let word = tokio::time::timeout(timeout, &mut handle).await??;
    assert_eq!(word.as_deref(), Some("entries"));
    let receipt = handle.receipt().context("it ran")?;
    assert_eq!(receipt.slave, *other.name());
    Ok(())
}
