//! D9: where an image is: tasks go there.

use super::images::{image, made};
use anyhow::{Context, Result};
use dpfw::{CallExt, Image, ImageUse, Origin, Receipt};
use dpfw_test_tasks::{gate, word};
use dpfw_tests::fleet::{self, entry, linked, listening, quiet, slave};
use dpfw_tests::lines::Lines;
use dpfw_tests::wait::within;

/// Runs a task on an image, wherever its master sends it; gives what is told of it.
async fn run(image: &Image) -> Result<(Receipt, ImageUse)> {
    let mut handle = image.dispatch(word::call(0));
    within("the word", &mut handle).await??.context("the image has a word")?;
    let receipt = handle.receipt().context("it has ended")?;
    let used = receipt.image.clone().context("it ran on an image")?;
    Ok((receipt, used))
}

#[tokio::test]
async fn tasks_go_where_their_image_is() -> Result<()> {
    let start = async |name: &str| listening(slave(name, 1)?).await;
    let (one, two) = (start("s1").await?, start("s2").await?);
    let master = fleet::master(&[&one.1, &two.1]).await?;
    let mut images = Vec::new();
    for (name, busy) in [("s1", "s2"), ("s2", "s1")] {
        // It is made at the one that is idle.
        let busy = linked(&master, busy)?;
        let holds = master.dispatch(gate::call(name.into(), "go".into(), 1).on(&busy));
        entry(&busy, name).await?;
        let image = image(&master, &format!("only at {name}")).await?;
        busy.store().put("go", &0).await?;
        within("the slot", holds).await??;
        images.push((image, name));
    }
    quiet(&master).await?;
    for (image, name) in &images {
        // Both are idle each time, and of such the other one's turn would be next.
        for _ in 0..20 {
            let (receipt, used) = run(image).await?;
            assert_eq!((receipt.slave.as_str(), used.origin), (*name, Origin::There));
        }
        assert_eq!(image.places().await.len(), 1);
    }
    Ok(())
}
