//! The audit log of a slave: what of its masters and their modules is a line in it.

use super::grants::everyone;
use super::security;
use anyhow::{Context, Result};
use dpfw::security::CertRole;
use dpfw::{Audit, Cause, Limits, Module, Task};
use dpfw_test_connecting::ask;
use dpfw_test_tasks::{add, variable};
use dpfw_tests::certs::Place;
use dpfw_tests::fleet::{Pair, listening, slave};
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

#[tokio::test]
async fn what_guests_use_and_what_they_are_refused_are_lines() -> Result<()> {
    let home = tempfile::tempdir()?;
    let file = home.path().join("audit.jsonl");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    let grants = everyone(|rule| {
        rule.env.extend("A=1".parse());
        rule.connect.extend(format!("127.0.0.1:{port}").parse());
    });
    let builder = slave("s1", 1)?.grants(grants).audit(Audit::new(&file));
    let pair = Pair::start(builder).await?;
    let read = within("A", pair.master.dispatch(variable::call("A".into()))).await??;
    assert_eq!(read.as_deref(), Some("1"));
    for address in ["192.0.2.1:80", "no address at all"] {
        let ask = pair.master.dispatch(ask::call(address.into(), "x".into()));
        assert!(within("the refusal", ask).await?.is_err(), "it has connected");
    }
    let ask = pair.master.dispatch(ask::call(format!("127.0.0.1:{port}"), "x".into()));
    drop(within("the guest", listener.accept()).await??);
    // It hears nothing.
    let _ = within("the end", ask).await?;
    drop(pair);
    let grants = lines(&file, "grant")?;
    let used: Vec<_> = grants.iter().filter_map(|line| line["what"].as_str()).collect();
    assert_eq!(used, ["environment".to_owned(), format!("connection to 127.0.0.1:{port}")]);
    assert!(grants.iter().all(|line| line["master"].is_string() && line["attempt"].is_u64()));
    let refusals = lines(&file, "refusal")?;
    let (whats, whys): (Vec<_>, Vec<_>) = refusals
        .iter()
        .filter_map(|line| Some((line["what"].as_str()?, line["why"].as_str()?)))
        .unzip();
    assert_eq!(whats, ["grant", "grant"], "{refusals:?}");
    assert!(whys[0].contains("192.0.2.1:80 is not granted"), "{whys:?}");
    Ok(())
}

#[tokio::test]
async fn requests_that_are_refused_are_lines() -> Result<()> {
    let home = tempfile::tempdir()?;
    let file = home.path().join("audit.jsonl");
    let mut limits = Limits::default();
    (limits.store_bytes, limits.watches) = (100_000, 0);
    let pair = Pair::start(slave("s1", 1)?.limits(limits).audit(Audit::new(&file))).await?;
    let store = pair.linked()?.store();
    assert!(store.put("k", &vec![7u8; 200_000]).await.is_err(), "it fits");
    assert!(store.watch("").await.is_err(), "it is watched");
    drop((store, pair));
    let refusals = lines(&file, "refusal")?;
    let whys: Vec<_> = refusals.iter().filter_map(|line| line["why"].as_str()).collect();
    assert_eq!(whys.len(), 2, "{refusals:?}");
    assert!(whys[0].contains("quota") && whys[1].contains("watches"), "{whys:?}");
    assert!(refusals.iter().all(|line| line["master"].is_string()));
    Ok(())
}

#[tokio::test]
async fn peers_with_certificates_and_what_observers_are_refused_are_lines() -> Result<()> {
    let (place, home) = (Place::new()?, tempfile::tempdir()?);
    let file = home.path().join("audit.jsonl");
    let security = place.peer(CertRole::Slave, "slave-1")?;
    let builder = slave("s1", 1)?.security(security).audit(Audit::new(&file));
    let (slave, address) = listening(builder).await?;
    let eye = place.peer(CertRole::Observer, "eye")?;
    let eye = security::master(eye, &address).await?;
    let sum = within("the refusal", eye.dispatch(add::call(1, 1))).await?;
    assert!(matches!(sum.err().context("it ran")?.cause(), Cause::NotAllowed { .. }));
    drop(eye);
    until("its end", async || Ok(lines(&file, "connection")?.len() == 2)).await?;
    drop(slave);
    let connections = lines(&file, "connection")?;
    assert_eq!(outcomes(&connections), ["accepted", "ended"]);
    for line in &connections {
        let of = (&line["name"], &line["role"], &line["proof"]);
        assert_eq!(of, (&"eye".into(), &"observer".into(), &"tls".into()), "{line}");
    }
    let refusals = lines(&file, "refusal")?;
    assert_eq!((&refusals[0]["what"], &refusals[0]["master"]), (&"rights".into(), &"eye".into()));
    Ok(())
}
