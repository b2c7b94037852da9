//! D9: where an image is: tasks go there, and slaves that come back have it or make it.

use super::images::{image, made};
use anyhow::{Context, Result};
use dpfw::{CallExt, Image, ImageUse, Master, Origin, Receipt, Running, Transfer};
use dpfw_test_tasks::{gate, word, words};
use dpfw_tests::fleet::{self, arrival, entry, linked, listening, quiet, slave};
use dpfw_tests::lines::Lines;
use dpfw_tests::process::Process;
use dpfw_tests::proxy::Proxy;
use dpfw_tests::wait::{until, within};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Runs a task on an image, wherever its master sends it; gives what is told of it.
async fn run(image: &Image) -> Result<(Receipt, ImageUse)> {
    let mut handle = image.dispatch(word::call(0));
    within("the word", &mut handle).await??.context("the image has a word")?;
    let receipt = handle.receipt().context("it has ended")?;
    let used = receipt.image.context("it ran on an image")?;
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

#[tokio::test]
async fn a_slave_has_its_image_when_its_link_is_back() -> Result<()> {
    let (lines, home) = (Lines::capture(), tempfile::tempdir()?);
    let (_slave, address) = listening(slave("s1", 1)?.cache(home.path().join("cache"))).await?;
    let proxy = Proxy::before(&address)?;
    let builder = Master::builder().slave(proxy.address()).dial_tries(None);
    let master = builder.dial_pause(Duration::from_millis(20)).build();
    let master = within("the link", master).await??;
    let image = image(&master, "back again").await?;
    let before = linked(&master, "s1")?;
    proxy.cut();
    until("the link to be lost", async || Ok(!before.is_linked())).await?;
    assert_ne!(before, arrival(&master, "s1").await?);
    assert_eq!(run(&image).await?.1.origin, Origin::There);
    assert_eq!(made(&lines, &image), 1, "it was made again");
    Ok(())
}

#[tokio::test]
async fn a_slave_that_has_lost_its_disk_makes_what_is_to_be_everywhere_without_a_task() -> Result<()>
{
    let home = tempfile::tempdir()?;
    let builder = Master::builder().listen("127.0.0.1:0");
    let Running { master, listening } = builder.build_listening().await?;
    let address = listening[0].to_string();
    let start = async |cache: &Path| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dpfw-test-slave"));
        command.args(["s1", "1"]).env("DPFW_TEST_DIAL", &address);
        Process::with_cache(&mut command, cache).await
    };
    let mut first = start(&home.path().join("first")).await?;
    arrival(&master, "s1").await?;
    let init = words::call("is there again".into());
    let making = master.init(init).everywhere().transfer(Transfer::Never);
    let image = within("the image", making.into_future()).await??;
    assert_eq!(image.places().await.len(), 1);
    first.kill()?;
    until("its loss to be noticed", async || Ok(image.places().await.is_empty())).await?;
    let second = start(&home.path().join("second")).await?;
    until("it to be there again", async || Ok(!image.places().await.is_empty())).await?;
    let [place] = &image.places().await[..] else { panic!("there is one slave") };
    assert_eq!((place.slave.as_str(), place.origin), ("s1", Origin::Built));
    assert_eq!(run(&image).await?.1.origin, Origin::There);
    drop(second);
    Ok(())
}
