//! Hostile guests, a file each, and guests at random.

use super::stage::{Stage, unharmed};
use anyhow::Result;
use dpfw::{CallExt, Limits, Task};
use dpfw_tests::fleet::slave;
use dpfw_tests::hostile::{self, Hostile};
use dpfw_tests::wait::within;
use serde::de::IgnoredAny;
use std::time::Duration;

/// What the slave allows that meets them.
fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.warm = Duration::from_millis(300);
    // What they store is to be refused soon.
    (limits.store_bytes, limits.store_entries) = (1 << 20, 1000);
    limits
}

#[tokio::test]
async fn every_hostile_guest_ends_as_its_file_says_and_disturbs_nobody() -> Result<()> {
    let stage = Stage::of(slave("s1", 2)?.limits(limits())).await?;
    let (mut failed, mut wrong) = (0, Vec::new());
    for guest in hostile::all()? {
        let Hostile { name, module, expected, limits } = guest;
        let call = Task::<IgnoredAny>::new(module, "task").call(&())?.limits(limits);
        let outcome = within(&name, stage.master().dispatch(call)).await?;
        let cause = outcome.as_ref().map(drop).map_err(dpfw::TaskError::cause);
        let is_own = matches!(cause, Err(dpfw::Cause::BadResult { .. }));
        failed += u64::from(cause.is_err() && !is_own);
        if !expected.is(cause) {
            wrong.push(format!("{name}: {expected:?} was expected, not {cause:?}"));
        }
        unharmed(stage.master()).await?;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    stage.end_with(failed).await
}
