//! D9: images have their names again when their slave is started again.

use super::image_names::{self, look, named, word_on};
use anyhow::{Context, Result};
use dpfw::{CallExt, Cause, Limits, LookupError, Origin, PeerId, Slave, SlaveBuilder};
use dpfw_test_tasks::{word, words};
use dpfw_tests::fleet::{self, Pair, linked, listening, slave};
use dpfw_tests::lines::Lines;
use dpfw_tests::wait::within;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A place for compiled code, at which slaves are started one after the other.
struct Place(TempDir);

impl Place {
    fn new() -> Result<Self> {
        Ok(Self(tempfile::tempdir()?))
    }

    fn cache(&self) -> PathBuf {
        self.0.path().join("cache")
    }

    fn slave(&self, name: &str) -> Result<SlaveBuilder> {
        Ok(Slave::builder().name(PeerId::new(name)?).slots(1).cache(self.cache()))
    }

    async fn start(&self, name: &str) -> Result<Pair> {
        Pair::start(self.slave(name)?).await
    }
}

async fn keys(pair: &Pair) -> Result<Vec<String>> {
    image_names::keys(&pair.linked()?).await
}

/// Deletes the files of images with this extension; gives how many there were.
fn delete(cache: &Path, extension: &str) -> Result<usize> {
    let mut deleted = 0;
    for dir in std::fs::read_dir(cache)?.filter_map(Result::ok).filter(|d| d.path().is_dir()) {
        for file in std::fs::read_dir(dir.path())?.filter_map(Result::ok) {
            let name = file.file_name().to_string_lossy().into_owned();
            if name.starts_with("image-") && name.ends_with(extension) {
                std::fs::remove_file(file.path())?;
                deleted += 1;
            }
        }
    }
    Ok(deleted)
}

#[tokio::test]
async fn another_master_finds_it_by_its_name_after_a_restart_and_it_is_not_made_again() -> Result<()>
{
    let (lines, place) = (Lines::capture(), Place::new()?);
    let first = place.start("s1").await?;
    let image = named(&first.master, "by its name after a restart", "seven").await?;
    let hash = image.places().await[0].hash;
    let owner = first.linked()?.store().list("").await?[0].owner.clone();
    drop(first);
    let again = place.start("s1").await?;
    // It is in the store before any task needs it, as its owner's.
    let [entry] = &again.linked()?.store().list("").await?[..] else { panic!("one entry") };
    let listed = entry.image.as_ref().context("an image")?;
    assert_eq!((entry.key.as_str(), &entry.owner), ("seven", &owner));
    assert_eq!((listed.origin, listed.id, listed.hash), (Origin::Kept, image.id(), hash));
    assert!(entry.evictable && !entry.pinned);
    let found = look(&again.master, "seven").await?;
    assert_eq!((found.id(), found.init()), (image.id(), "words"));
    let there = again.linked()?;
    assert_eq!(word_on(&found, 2, &there).await?, (Some("name".into()), Origin::Kept));
    assert_eq!(word_on(&found, 0, &there).await?, (Some("by".into()), Origin::There));
    assert_eq!(found.places().await[0].hash, hash);
    assert_eq!(lines.with(&["an image is ready", &image.id().to_string()]).len(), 1);
    // It has the name still, and may be given others.
    assert_eq!(keys(&again).await?, ["seven"]);
    named(&again.master, "by its name after a restart", "eight").await?;
    assert_eq!(keys(&again).await?, ["eight", "seven"]);
    drop(again);
    let third = place.start("s1").await?;
    assert_eq!(keys(&third).await?, ["eight", "seven"]);
    // Who has the recipe finds it by that as well.
    let whole = third.master.init(words::call("by its name after a restart".into()));
    let image = within("the image", whole.into_future()).await??;
    assert_eq!(image.places().await[0].origin, Origin::Kept);
    assert_eq!(keys(&third).await?, ["eight", "seven"]);
    Ok(())
}

#[tokio::test]
async fn what_was_taken_away_replaced_or_evicted_is_not_there_again() -> Result<()> {
    let place = Place::new()?;
    let first = place.start("s1").await?;
    named(&first.master, "the first of them", "removed").await?;
    named(&first.master, "the first of them", "replaced").await?;
    named(&first.master, "the first of them", "stays").await?;
    named(&first.master, "the second of them", "replaced").await?;
    let there = first.linked()?;
    assert!(there.store().remove("removed").await?);
    assert_eq!(keys(&first).await?, ["replaced", "stays"]);
    drop(first);
    let again = place.start("s1").await?;
    assert_eq!(keys(&again).await?, ["replaced", "stays"]);
    let there = again.linked()?;
    let (one, two) = (look(&again.master, "stays").await?, look(&again.master, "replaced").await?);
    assert_eq!(word_on(&one, 1, &there).await?, (Some("first".into()), Origin::Kept));
    assert_eq!(word_on(&two, 1, &there).await?, (Some("second".into()), Origin::Kept));
    drop((one, two));
    // One that was not mapped is removed as one that was.
    drop(again);
    let third = place.start("s1").await?;
    assert!(third.linked()?.store().remove("stays").await?);
    let error = look(&third.master, "stays").await.expect_err("it was removed");
    assert!(matches!(error, LookupError::Absent { .. }), "{error}");
    drop(third);
    let small = async |store_bytes| {
        let mut limits = Limits::default();
        limits.store_bytes = store_bytes;
        Pair::start(place.slave("s1")?.limits(limits)).await
    };
    let cramped = small(64 << 10).await?;
    assert_eq!(keys(&cramped).await?, [""; 0], "there is no room for it");
    drop(cramped);
    let full = small(8 << 20).await?;
    assert_eq!(keys(&full).await?, ["replaced"]);
    full.linked()?.store().put("large", &vec![0u8; (8 << 20) - 4096]).await?;
    assert_eq!(keys(&full).await?, ["large"]);
    drop(full);
    assert_eq!(keys(&place.start("s1").await?).await?, [""; 0], "it was evicted");
    Ok(())
}

#[tokio::test]
async fn another_slave_at_the_same_place_has_names_of_its_own() -> Result<()> {
    let place = Place::new()?;
    let first = place.start("s1").await?;
    named(&first.master, "of the first slave", "index").await?;
    let other = place.start("s2").await?;
    assert_eq!(keys(&other).await?, [""; 0]);
    let image = named(&other.master, "of the first slave", "other").await?;
    assert_eq!(image.places().await[0].origin, Origin::Kept, "the code is there for both");
    drop((first, other, image));
    assert_eq!(keys(&place.start("s1").await?).await?, ["index"]);
    assert_eq!(keys(&place.start("s2").await?).await?, ["other"]);
    // One that is not told whose they are has none, unless it is told to.
    let nameless = || Slave::builder().slots(1).cache(place.cache());
    for (builder, expected) in [
        (nameless(), [""; 0].as_slice()),
        (nameless().keep_image_names(true), &["nobody's"]),
        (nameless().keep_image_names(true), &["nobody's"]),
    ] {
        let pair = Pair::start(builder).await?;
        let key = if expected.is_empty() { "not kept" } else { "nobody's" };
        named(&pair.master, "of the first slave", key).await?;
        assert_eq!(keys(&pair).await?, [key]);
        drop(pair);
        let again = Pair::start(nameless().keep_image_names(true)).await?;
        assert_eq!(keys(&again).await?, expected);
    }
    Ok(())
}

#[tokio::test]
async fn an_image_that_was_not_mapped_since_the_start_is_sent_to_other_slaves() -> Result<()> {
    let place = Place::new()?;
    let first = place.start("s1").await?;
    named(&first.master, "sent from the disk", "index").await?;
    drop(first);
    let again = place.start("s1").await?;
    let home = tempfile::tempdir()?;
    let (_two, address) = listening(slave("s2", 1)?.cache(home.path().join("s2"))).await?;
    let master = fleet::master(&[&again.address, &address]).await?;
    let found = look(&master, "index").await?;
    let (s1, s2) = (linked(&master, "s1")?, linked(&master, "s2")?);
    assert_eq!(word_on(&found, 0, &s2).await?, (Some("sent".into()), Origin::Sent));
    assert_eq!(word_on(&found, 3, &s1).await?, (Some("disk".into()), Origin::Kept));
    Ok(())
}

#[tokio::test]
async fn an_image_whose_code_is_gone_is_found_no_more_when_a_task_has_needed_it() -> Result<()> {
    let place = Place::new()?;
    let first = place.start("s1").await?;
    named(&first.master, "gone from the disk", "index").await?;
    drop(first);
    let again = place.start("s1").await?;
    let found = look(&again.master, "index").await?;
    assert_eq!(delete(&place.cache(), ".code")?, 1);
    let there = again.linked()?;
    let task = found.dispatch(word::call(0).on(&there));
    let error = within("the end", task).await?.expect_err("there is nothing to start from");
    assert_eq!(*error.cause(), Cause::ImageGone { image: "index".into() }, "{error}");
    assert_eq!(keys(&again).await?, [""; 0]);
    // It is made again of its recipe, and what is not there at the start is not in the store.
    named(&again.master, "gone from the disk", "index").await?;
    drop(again);
    assert_eq!(delete(&place.cache(), ".label")?, 1);
    assert_eq!(keys(&place.start("s1").await?).await?, [""; 0]);
    assert_eq!(delete(&place.cache(), ".names")?, 0);
    Ok(())
}
