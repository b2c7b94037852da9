//! `dpfw store`.

use crate::kit::{Left, Modules, Slave, dpfw, slave};

fn store(slave: &Slave, args: &[&str], input: &str) -> Left {
    dpfw(&[&["store"], args, &["--slave", &slave.address]].concat(), input)
}

/// What a person reads; versions are counted from 1 in a fresh store.
fn shown(left: &Left) -> String {
    format!("{}{}[{}]", left.out, left.err, left.code)
}

#[test]
fn entries_are_written_read_and_removed() {
    let slave = slave(&[]);
    let store = |args: &[&str], input: &str| shown(&store(&slave, args, input));
    insta::assert_snapshot!(store(&["put", "colours/sky", r#"{"name": "blue", "rgb": [0, 0, 255]}"#], ""), @r"
    version 1
    [0]
    ");
    insta::assert_snapshot!(store(&["get", "colours/sky"], ""), @r#"
    {"name":"blue","rgb":[0,0,255]}
    version 1
    [0]
    "#);
    insta::assert_snapshot!(store(&["get", "colours/sky", "--json"], ""), @r#"
    {"key":"colours/sky","value":{"name":"blue","rgb":[0,0,255]},"version":1}
    [0]
    "#);
    insta::assert_snapshot!(store(&["remove", "colours/sky"], ""), @"[0]");
    for operation in ["get", "remove"] {
        insta::allow_duplicates! {
            insta::assert_snapshot!(store(&[operation, "colours/sky"], ""), @r"
            error: there is no entry `colours/sky`
            hint: `dpfw store list` shows those that there are
            [9]
            ");
        }
    }
    insta::assert_snapshot!(store(&["get", "colours/sky", "--json"], ""), @r#"
    {"error":{"code":9,"hint":"`dpfw store list` shows those that there are","message":"there is no entry `colours/sky`"}}
    [9]
    "#);
}

#[test]
fn a_write_that_comes_too_late_changes_nothing() {
    let slave = slave(&[]);
    let store = |args: &[&str]| shown(&store(&slave, args, ""));
    insta::assert_snapshot!(store(&["put-if-absent", "k", "1"]), @r"
    version 1
    [0]
    ");
    insta::assert_snapshot!(store(&["put-if-absent", "k", "2"]), @r"
    error: `k` has version 1; nothing was written
    hint: `dpfw store get` shows what is there
    [10]
    ");
    insta::assert_snapshot!(store(&["cas", "k", "1", "-3"]), @r"
    version 2
    [0]
    ");
    assert!(store(&["cas", "k", "1", "4"]).starts_with("error: `k` has version 2; nothing"));
    insta::assert_snapshot!(store(&["cas", "absent", "1", "4"]), @r"
    error: there is no entry `absent`; nothing was written
    hint: version 0 stands for no entry
    [10]
    ");
    assert_eq!(store(&["get", "k"]), "-3\nversion 2\n[0]");
    assert_eq!(
        store(&["cas", "absent", "0", "5", "--json"]),
        "{\"key\":\"absent\",\"version\":3}\n[0]"
    );
}

#[test]
fn texts_and_bytes_stay_as_they_are() {
    let slave = slave(&[]);
    let text = "to be,\n\"or\" not\tto be\n";
    assert_eq!(store(&slave, &["put", "text", "--text"], text).code, 0);
    assert_eq!(store(&slave, &["get", "text", "--text"], "").out, text);
    assert_eq!(store(&slave, &["put", "raw", "--raw", "-"], text).code, 0);
    assert_eq!(store(&slave, &["get", "raw", "--raw"], "").out, text);
    assert!(store(&slave, &["get", "raw"], "").out.starts_with("[116,111,32,"));
    insta::assert_snapshot!(shown(&store(&slave, &["get", "raw", "--text"], "")), @r"
    error: `raw` is bytes, not a text
    hint: without --text and --raw it is printed as JSON
    [2]
    ");
    insta::assert_snapshot!(shown(&store(&slave, &["put", "k", "blue"], "")), @r"
    error: the value is no JSON: expected value at line 1 column 1
    hint: --text takes a text as it stands, --raw any bytes
    [2]
    ");
}

#[test]
fn a_listing_is_a_table() {
    let slave = slave(&[]);
    for key in ["colours/sky", "colours/\u{1b}[31msea", "numbers/one"] {
        assert_eq!(store(&slave, &["put", key, "1"], "").code, 0);
    }
    let left = store(&slave, &["list", "colours/"], "");
    let lines: Vec<Vec<_>> =
        left.out.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(left.code, 0, "{left:?}");
    assert_eq!(lines[0], ["KEY", "KIND", "BYTES", "VERSION", "IDLE", "OWNER", "KEPT"]);
    assert_eq!(lines[1][..4], [r"colours/\u{1b}[31msea", "value", "1", "2"]);
    assert_eq!(lines[2][..4], ["colours/sky", "value", "1", "1"]);
    for line in &lines[1..] {
        assert!(humantime::parse_duration(line[4]).is_ok(), "{line:?}");
        assert!(line.len() == 6 && line[5].starts_with("master-"), "{line:?}");
    }
    // Each command was a master of its own.
    assert_ne!(lines[1][5], lines[2][5]);
    let left = store(&slave, &["list", "--json"], "");
    assert_eq!(left.out.lines().count(), 3);
    for line in left.out.lines() {
        let entry: serde_json::Value = serde_json::from_str(line).expect("an object a line");
        assert_eq!(entry["bytes"], 1);
    }
    assert_eq!(shown(&store(&slave, &["list", "nothing"], "")), "[0]");
}

#[test]
fn a_listing_says_how_long_an_entry_is_kept() {
    let slave = slave(&[]);
    let store = |args: &[&str]| store(&slave, args, "");
    assert_eq!(store(&["put", "a", "1"]).code, 0);
    assert_eq!(store(&["put-if-absent", "b", "1", "--evictable"]).code, 0);
    assert_eq!(store(&["cas", "c", "0", "1", "--ttl", "2h"]).code, 0);
    assert_eq!(store(&["put", "d", "1", "--evictable"]).code, 0);
    assert_eq!(shown(&store(&["pin", "d"])), "[0]");
    let kept = || -> Vec<String> {
        let left = store(&["list"]);
        let column = left.out.lines().next().expect("a head").find("KEPT").expect("a column");
        left.out.lines().skip(1).map(|line| line[column.min(line.len())..].into()).collect()
    };
    let now = kept();
    assert_eq!((&*now[0], &*now[1], &*now[3]), ("", "evictable", "pinned"));
    assert!(now[2].starts_with("1h 59m") && now[2].ends_with("left"), "{now:?}");
    assert_eq!(shown(&store(&["unpin", "d", "--json"])), "{\"key\":\"d\",\"pinned\":false}\n[0]");
    assert_eq!(kept()[3], "evictable");
    assert_eq!(store(&["pin", "none"]).code, 9);
    let left = store(&["list", "c", "--json"]);
    let entry: serde_json::Value = serde_json::from_str(&left.out).expect("an object");
    assert_eq!(
        (&entry["kind"], &entry["evictable"], &entry["pinned"]),
        (&"value".into(), &true.into(), &false.into())
    );
    assert!(entry["ttl_ms"].as_u64().is_some_and(|left| left <= 7_200_000), "{entry}");
}

#[test]
fn what_is_there_and_what_changes_is_told_line_by_line() {
    let slave = slave(&[]);
    let store = |args: &[&str]| shown(&store(&slave, args, ""));
    store(&["put", "a/1", "1"]);
    store(&["put", "a/\u{1b}2", "1"]);
    store(&["put", "b", "1"]);
    insta::assert_snapshot!(store(&["watch", "a/", "--present", "--count", "2"]), @r"
    present   value            2  a/\u{1b}2
    present   value            1  a/1
    watching
    [0]
    ");
    insta::assert_snapshot!(store(&["watch", "b", "--present", "--count", "1", "--json"]), @r#"
    {"key":"b","kind":"value","version":3,"what":"present"}
    {"note":"watching"}
    [0]
    "#);
}

#[test]
fn tasks_see_the_same_entries() {
    let (slave, modules) = (slave(&[]), Modules::new());
    assert_eq!(store(&slave, &["put", "remembered/colour", "\"blue\""], "").code, 0);
    let module = modules.path("tasks.wasm");
    let args = ["run", &module, "remember", r#"["colour", "red"]"#, "--slave", &slave.address];
    assert_eq!(dpfw(&args, "").out, "\"blue\"\n");
    assert_eq!(store(&slave, &["get", "remembered/colour"], "").out, "\"red\"\n");
    // Elsewhere there is nothing of it.
    let elsewhere = ["get", "remembered/colour", "--namespace", "other"];
    assert_eq!(store(&slave, &elsewhere, "").code, 9);
}

#[test]
fn a_store_on_disk_is_there_again_when_its_slave_was_killed() {
    let directory = tempfile::tempdir().expect("a place");
    let place = directory.path().join("store");
    let place = place.to_str().expect("a path");
    let first = slave(&["--store", place]);
    let put = store(&first, &["put", "account/7", "100", "--durable"], "");
    assert_eq!((put.code, put.out.as_str()), (0, "version 1\n"));
    let disk = |slave: &Slave| {
        let told = dpfw(&["slaves", "--json", "--slave", &slave.address], "").out;
        serde_json::from_str::<serde_json::Value>(&told).expect("an object")["disk"].clone()
    };
    assert_eq!(disk(&first), "durable");
    let second = dpfw(&["slave", "--listen", "127.0.0.1:0", "--store", place], "");
    assert_eq!(second.code, 2);
    assert!(second.err.contains("is the store of another slave"), "{}", second.err);
    first.process.signal(rustix::process::Signal::KILL);
    drop(first);

    let again = slave(&["--store", place]);
    assert_eq!(shown(&store(&again, &["get", "account/7"], "")), "100\nversion 1\n[0]");
    assert_eq!(shown(&store(&again, &["remove", "account/7", "--durable"], "")), "[0]");
}

#[test]
fn without_a_directory_nothing_is_durable() {
    let slave = slave(&[]);
    let put = shown(&store(&slave, &["put", "k", "1", "--durable"], ""));
    assert!(put.contains("nothing is written to disk"), "{put}");
    assert!(put.contains("hint: start it with `dpfw slave --store DIR`"), "{put}");
    assert_eq!(store(&slave, &["get", "k"], "").code, 9);
}

#[test]
fn a_size_is_no_directory() {
    let left = dpfw(&["slave", "--listen", "127.0.0.1:0", "--store", "512MiB"], "");
    assert_eq!(left.code, 2);
    assert!(left.err.contains("--store-bytes"), "{}", left.err);
}
