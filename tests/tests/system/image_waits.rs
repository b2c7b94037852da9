//! D9: who waits for an image that is not to be had.

use super::scene::dispatch;
use anyhow::{Context, Result};
use dpfw::{Cause, Master};
use dpfw_protocol::message::{Failed, Loading, kind};
use dpfw_test_tasks::init_that_fails_late;
use dpfw_tests::fleet::{self, listening, slave};
use dpfw_tests::lines::Lines;
use dpfw_tests::peer::Wire;
use dpfw_tests::wait::within;
use std::collections::BTreeSet;

#[tokio::test]
async fn all_who_wait_for_an_init_that_fails_are_told_and_it_ran_once() -> Result<()> {
    let (lines, home) = (Lines::capture(), tempfile::tempdir()?);
    let (_slave, address) = listening(slave("s1", 2)?.cache(home.path().join("cache"))).await?;
    let (one, two) = (fleet::master(&[&address]).await?, fleet::master(&[&address]).await?);
    let word = "the labour of five";
    let refused = || lines.with(&["refused", "is in vain"]).len();
    let make = |master: &Master| master.init(init_that_fails_late::call(word.into(), 2_000));
    let (a, b, c) = (make(&one).into_future(), make(&one).into_future(), make(&two).into_future());
    let all = tokio::spawn(async move { tokio::join!(a, b, c) });
    lines.wait_for(&["dpfw::task", word]).await?;
    // A third master, by hand: its attempts wait while the init runs, as they are told.
    let mut wire = Wire::master(&address, "by-hand").await?;
    let recipe = init_that_fails_late::call(word.into(), 2_000).recipe()?;
    wire.bind_image(0, recipe.id, recipe.module.hash(), "word").await?;
    for attempt in [1, 2] {
        wire.send(attempt, &dispatch(0, 2), &[0x91, 0]).await?;
    }
    let mut told = BTreeSet::new();
    while told.len() < 2 {
        let said = wire.next().await?.context("the link stands")?;
        match said.header.kind {
            kind::LOADING => told.extend(said.read::<Loading>()?.0.attempts),
            kind::FAILED => panic!("{:?}", said.read::<Failed>()?),
            _ => {}
        }
    }
    assert_eq!(refused(), 0, "it has failed already");
    let mut failed = BTreeSet::new();
    while failed.len() < 2 {
        let (attempt, outcome, _) = wire.expect::<Failed>().await?;
        let cause = Cause::from(outcome.failure);
        assert!(matches!(&cause, Cause::InitFailed { message, .. } if message.contains("in vain")));
        failed.insert(attempt);
    }
    let (a, b, c) = within("three failures", all).await??;
    for made in [a, b, c] {
        let error = made.expect_err("it fails");
        let Cause::InitFailed { init, message } = error.cause() else { panic!("{error}") };
        assert_eq!(init, "init_that_fails_late");
        assert_eq!(*message, format!("all that {word} is in vain"));
    }
    assert_eq!((refused(), lines.with(&["dpfw::task", word]).len()), (1, 1), "it ran again");
    Ok(())
}
