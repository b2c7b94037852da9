//! The audit log of a slave: what of its masters and their modules is a line in it.

use anyhow::{Context, Result};
use dpfw::{Audit, Cause, Module, Task};
use dpfw_tests::fleet::{Pair, slave};
use dpfw_tests::wait::{until, within};
use dpfw_tests::wasm::module;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// The lines of a kind, once the slave has ended.
fn lines(file: &Path, event: &str) -> Result<Vec<Value>> {
    let text = fs::read_to_string(file)?;
    let all: Result<Vec<Value>, _> = text.lines().map(serde_json::from_str).collect();
    Ok(all?.into_iter().filter(|line| line["event"] == event).collect())
}

fn outcomes(lines: &[Value]) -> Vec<&str> {
    lines.iter().filter_map(|line| line["outcome"].as_str()).collect()
}

fn task(module: &Module) -> Task<i32> {
    Task::new(module.clone(), "f")
}

#[tokio::test]
async fn connections_module_loads_and_refusals_are_lines() -> Result<()> {
    let home = tempfile::tempdir()?;
    let (file, cache) = (home.path().join("audit.jsonl"), home.path().join("cache"));
    let good = module("(module (func (export \"f\") (result i32) (i32.const 570_001)))")?;
    let bad = module(
        "(module (import \"env\" \"f\" (func)) (func (export \"f\") (result i32) (i32.const 0)))",
    )?;
    for turn in 0..2 {
        let builder = slave("s1", 1)?.cache(&cache).audit(Audit::new(&file));
        let pair = Pair::start(builder).await?;
        let number = within("the number", pair.master.dispatch(task(&good).call(&[0; 0])?));
        assert_eq!(number.await??, 570_001);
        if turn == 1 {
            for _ in 0..50 {
                let call = task(&bad).call(&[0; 0])?;
                let error = within("the refusal", pair.master.dispatch(call)).await?;
                let error = error.err().context("it ran")?;
                assert!(matches!(error.cause(), Cause::Rejected { .. }), "{error}");
            }
        }
    }
    assert_eq!(fs::metadata(&file)?.permissions().mode() & 0o777, 0o600);
    let connections = lines(&file, "connection")?;
    assert_eq!(outcomes(&connections), ["accepted", "ended", "accepted", "ended"]);
    for line in &connections {
        let peer = line["peer"].as_str().context("no address")?;
        assert!(peer.starts_with("127.0.0.1:"), "{line}");
        assert_eq!(line["role"], "master");
        assert!(line["name"].is_string() && line["session"].is_u64(), "{line}");
    }
    assert!(connections[1]["why"].is_string(), "{}", connections[1]);

    let modules = lines(&file, "module")?;
    assert_eq!(outcomes(&modules), ["loaded", "loaded", "refused"]);
    let from: Vec<_> = modules.iter().filter_map(|line| line["from"].as_str()).collect();
    assert_eq!(from, ["sent", "cache", "sent"]);
    for (line, linked) in modules.iter().zip([&connections[0], &connections[2]]) {
        assert_eq!(line["module"], good.hash().to_hex());
        assert_eq!((&line["kind"], &line["master"]), (&"plain".into(), &linked["name"]));
        assert!(line["bytes"].as_u64() > Some(0) && line["ms"].is_u64(), "{line}");
    }
    assert_eq!(modules[2]["module"], bad.hash().to_hex());
    assert!(modules[2]["why"].as_str().is_some_and(|why| why.contains("env")), "{}", modules[2]);

    // The first, and the others as one.
    let refusals = lines(&file, "refusal")?;
    let times = refusals.iter().map(|line| line["times"].as_u64().unwrap_or(1));
    assert_eq!(times.sum::<u64>(), 50);
    assert!(refusals.len() < 10, "{} lines", refusals.len());
    assert_eq!(
        (&refusals[0]["what"], &refusals[0]["module"]),
        (&"module".into(), &modules[2]["module"])
    );
    Ok(())
}

#[tokio::test]
async fn whoever_is_not_let_in_is_a_line() -> Result<()> {
    let home = tempfile::tempdir()?;
    let file = home.path().join("audit.jsonl");
    let pair = Pair::start(slave("s1", 1)?.audit(Audit::new(&file))).await?;
    // One that speaks something else, and tries to be read by whoever looks at the log.
    let mut other = tokio::net::TcpStream::connect(&pair.address).await?;
    other.write_all(b"GET / HTTP/1.1\r\nHost: \x1b[2J\r\n\r\n").await?;
    // It is told, and the connection ends.
    let mut left = Vec::new();
    let _ = within("the end", other.read_to_end(&mut left)).await?;
    until("it is written", async || Ok(lines(&file, "connection")?.len() == 2)).await?;
    drop(pair);
    let connections = lines(&file, "connection")?;
    assert_eq!(outcomes(&connections), ["accepted", "refused", "ended"]);
    assert!(connections[1].get("name").is_none() && connections[1]["why"].is_string());
    assert!(!fs::read_to_string(&file)?.contains('\x1b'));
    Ok(())
}
