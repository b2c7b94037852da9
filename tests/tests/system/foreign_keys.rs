//! F47: keys that look like paths, like other keys, or like orders to a terminal.

use super::stage::unharmed;
use anyhow::Result;
use dpfw::Namespace;
use dpfw_protocol::hello::Role;
use dpfw_protocol::message::{StoreReply, StoreRequest};
use dpfw_protocol::store::{Key, StoreOp, Terms};
use dpfw_tests::fleet::{Pair, slave};
use dpfw_tests::peer::{Wire, hello};
use std::collections::BTreeSet;

/// Separators of paths, of what is on disk, and of namespaces; and what acts on a terminal.
const KEYS: [&str; 16] = [
    "/",
    "a/",
    "a/b",
    "/etc/passwd",
    "..",
    "../../key",
    ".",
    "a\0",
    "\0",
    "default\0a",
    "other\0a",
    "a\r\nb",
    "\u{1b}[2J\u{1b}]0;x\u{7}",
    "\u{202e}a",
    "*",
    " ",
];

/// What a peer is told of a key.
async fn asked(wire: &mut Wire, id: u64, op: StoreOp, payload: &[u8]) -> Result<StoreReply> {
    let request = StoreRequest { op, payload: payload.len() as u64, terms: Terms::default() };
    wire.send(id, &request, payload).await?;
    Ok(wire.expect::<StoreReply>().await?.1)
}

/// Each key has its own value, and a listing those that begin as asked.
async fn all_there(pair: &Pair) -> Result<()> {
    let store = pair.linked()?.store();
    for (n, key) in KEYS.iter().enumerate() {
        assert_eq!(store.get::<usize>(key).await?, Some(n), "{key:?}");
    }
    let listed = store.list("a").await?.into_iter().map(|entry| entry.key.to_string());
    let expected = KEYS.iter().filter(|key| key.starts_with('a')).map(|key| key.to_string());
    assert_eq!(listed.collect::<BTreeSet<_>>(), expected.collect());
    Ok(())
}

#[tokio::test]
async fn f47_keys_of_separators_and_control_characters_stay_in_their_namespace() -> Result<()> {
    let home = tempfile::tempdir()?;
    let keeping = || anyhow::Ok(slave("s1", 1)?.store(home.path().join("store")));
    let pair = Pair::start(keeping()?).await?;
    let store = pair.linked()?.store();
    for (n, key) in KEYS.iter().enumerate() {
        store.put(key, &n).durable().await?;
    }
    // A master of another namespace sees none of them, whatever it puts before a key.
    let mut ours = hello(Role::Master, "liar")?;
    ours.namespace = Namespace::new("other")?;
    let mut liar = Wire::dial(&pair.address).await?;
    liar.greet(&ours).await?;
    let mut id = 1 << 62;
    for key in KEYS {
        for key in [key.to_owned(), format!("default\0{key}"), format!("../default/{key}")] {
            let get = StoreOp::Get { key: Key::new(key.clone())? };
            assert!(!asked(&mut liar, id, get, &[]).await?.hit, "{key:?}");
            id += 1;
        }
    }
    let put = StoreOp::Put { key: Key::new("a\0")? };
    assert!(asked(&mut liar, id, put, b"\xa4evil").await?.hit);
    // None is taken for another, here or on disk.
    all_there(&pair).await?;
    drop((liar, store, pair));
    all_there(&Pair::start(keeping()?).await?).await?;
    // Nothing outside of the store's directory was written.
    let left = std::fs::read_dir(home.path())?.map(|entry| Ok(entry?.file_name()));
    let left = left.collect::<std::io::Result<Vec<_>>>()?;
    assert_eq!(left, ["store"]);
    Ok(())
}

#[tokio::test]
async fn f47_a_key_that_is_none_is_refused() -> Result<()> {
    let pair = Pair::simple().await?;
    let store = pair.linked()?.store();
    for key in ["".to_owned(), "x".repeat(100_000)] {
        let error = store.put(key.as_str(), &1).await.err().map(|error| error.to_string());
        let error = error.unwrap_or_default();
        assert!(error.contains("the limit on key was exceeded"), "{error}");
    }
    unharmed(&pair.master).await
}
