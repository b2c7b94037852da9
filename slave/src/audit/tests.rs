use super::*;
use dpfw_protocol::ids::PeerId;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::time::Duration;

fn place() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("audit.jsonl");
    (dir, file)
}

/// The lines of a file, each of them JSON.
fn lines(file: &Path) -> Vec<Value> {
    let text = fs::read_to_string(file).expect("readable");
    assert!(text.is_empty() || text.ends_with('\n'), "{text:?}");
    text.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect()
}

fn accepted(peer: &str) -> Event {
    Event::Connection {
        outcome: Outcome::Accepted,
        peer: short(peer),
        name: Some(PeerId::new("master-1").expect("printable")),
        role: Some("master"),
        proof: Proof::Tls,
        session: Some(7),
        why: None,
    }
}

fn refused(peer: &str) -> Event {
    Event::Connection {
        outcome: Outcome::Refused,
        peer: short(peer),
        name: None,
        role: None,
        proof: Proof::None,
        session: None,
        why: Some("no certificate".into()),
    }
}

fn opened(audit: &Audit) -> AuditLog {
    let log = AuditLog::default();
    log.open(audit).expect("opened");
    log
}

#[test]
fn each_event_is_one_line_with_its_time() {
    let (_dir, file) = place();
    let log = opened(&Audit::new(&file));
    let master = PeerId::new("m").expect("printable");
    let events = [
        accepted("10.0.0.7:1234"),
        Event::Module {
            outcome: Outcome::Loaded,
            module: "ab".repeat(32),
            kind: "task",
            from: Origin::Sent,
            master: Some(master.clone()),
            bytes: Some(1),
            ms: 2,
            why: None,
        },
        Event::Grant { what: "env TZ".into(), module: Some("ab".into()), master, attempt: 3 },
        Event::Refusal { what: "room", master: None, module: None, why: "busy".into() },
    ];
    for event in &events {
        log.tell(|| event.clone());
    }
    log.close();
    let lines = lines(&file);
    let kinds: Vec<_> = lines.iter().map(|line| line["event"].as_str().expect("a text")).collect();
    assert_eq!(kinds, ["connection", "module", "grant", "refusal"]);
    for line in &lines {
        let time = line["time"].as_str().expect("a text");
        assert!(time.len() >= 20 && time.ends_with('Z') && time.as_bytes()[10] == b'T', "{time}");
    }
    assert_eq!(lines[0]["name"], "master-1");
    assert_eq!((&lines[0]["role"], &lines[0]["proof"]), (&"master".into(), &"tls".into()));
    assert_eq!(lines[1]["from"], "sent");
    assert_eq!(lines[2]["what"], "env TZ");
    assert_eq!(fs::metadata(&file).expect("there").mode() & 0o777, 0o600);
    for proof in [Proof::Token, Proof::Within] {
        assert!(serde_json::to_string(&proof).expect("a word").len() > 2);
    }
}

#[test]
fn nothing_in_a_line_acts_on_a_terminal() {
    let bad = "\u{1b}[2J\r\n\u{9b}31m\u{202e}\u{2066}\u{feff}\u{e0041}\u{7f}\"\\ \u{e4}";
    let bytes = Line::of(&refused(bad), 1).to_bytes();
    let text = String::from_utf8(bytes).expect("UTF-8");
    let line = text.strip_suffix('\n').expect("its end");
    assert!(!line.contains(dpfw_protocol::text::acts_on_terminal), "{line:?}");
    let value: Value = serde_json::from_str(line).expect("JSON");
    assert_eq!(value["peer"], bad, "and it is what it was");
    let long = Line::of(&refused(&"\u{1b}".repeat(100_000)), 1).to_bytes();
    assert!(long.len() < 8_192, "{} bytes", long.len());
}

#[test]
fn a_full_file_becomes_the_first_of_those_before_it() {
    let (dir, file) = place();
    let audit = Audit { most_bytes: 1_000, keep: 2, ..Audit::new(&file) };
    let log = opened(&audit);
    for n in 0..60 {
        log.tell(|| accepted(&n.to_string()));
    }
    log.close();
    let names = ["audit.jsonl.2", "audit.jsonl.1", "audit.jsonl"];
    assert_eq!(fs::read_dir(dir.path()).expect("readable").count(), names.len());
    let mut last = Vec::new();
    for name in names {
        let file = dir.path().join(name);
        let data = fs::metadata(&file).expect("there");
        assert!(data.len() <= 1_000, "{name}: {}", data.len());
        assert_eq!(data.mode() & 0o777, 0o600, "{name}");
        let peers = lines(&file)
            .into_iter()
            .map(|line| line["peer"].as_str().expect("a text").parse::<u32>());
        last.extend(peers.map(|n| n.expect("a number")));
    }
    let first = last[0];
    assert_eq!(last, (first..60).collect::<Vec<_>>(), "the last ones, in their order");
    // What was there is appended to.
    let before = lines(&file).len();
    let log = opened(&Audit::new(&file));
    log.tell(|| accepted("again"));
    log.close();
    assert_eq!(lines(&file).len(), before + 1);
}

#[test]
fn a_line_that_broke_off_is_ended_before_the_next() {
    let (_dir, file) = place();
    fs::write(&file, "{\"time\":\"2026").expect("written");
    let log = opened(&Audit::new(&file));
    log.tell(|| accepted("a"));
    log.close();
    let text = fs::read_to_string(&file).expect("readable");
    let (torn, whole) = text.split_once('\n').expect("two lines");
    assert_eq!(torn, "{\"time\":\"2026");
    assert!(serde_json::from_str::<Value>(whole).is_ok(), "{whole}");
    assert_eq!(fs::metadata(&file).expect("there").permissions().mode() & 0o777, 0o600);
}

#[test]
fn links_and_what_is_no_file_are_not_written() {
    let (dir, file) = place();
    let other = dir.path().join("other");
    fs::write(&other, "").expect("written");
    symlink(&other, &file).expect("linked");
    let log = AuditLog::default();
    assert!(matches!(log.open(&Audit::new(&file)), Err(AuditError::Io { .. })));
    assert!(matches!(log.open(&Audit::new(dir.path())), Err(AuditError::Io { .. })));
    assert!(matches!(log.open(&Audit::new("/dev/null")), Err(AuditError::Io { .. })));
    log.tell(|| panic!("nobody keeps a log"));
    log.close();
    assert_eq!(fs::read(&other).expect("readable"), b"");
}

#[test]
fn two_slaves_do_not_write_one_file() {
    let (_dir, file) = place();
    let first = opened(&Audit::new(&file));
    let second = AuditLog::default();
    assert!(matches!(second.open(&Audit::new(&file)), Err(AuditError::Used(_))));
    first.close();
    second.open(&Audit::new(&file)).expect("free");
}

#[test]
fn a_flood_of_refusals_is_a_line_and_a_number() {
    let (_dir, file) = place();
    let log = opened(&Audit::new(&file));
    for port in 0..50_000 {
        log.tell(|| refused(&format!("10.0.0.7:{port}")));
    }
    log.tell(|| refused("10.0.0.8:1"));
    log.close();
    let lines = lines(&file);
    let times = |line: &Value| line.get("times").map_or(1, |n| n.as_u64().expect("a number"));
    let of = |host: &str| -> Vec<u64> {
        let its = lines
            .iter()
            .filter(|line| line["peer"].as_str().is_some_and(|peer| peer.starts_with(host)));
        its.map(times).collect()
    };
    assert_eq!(of("10.0.0.7").iter().sum::<u64>(), 50_000);
    assert!(of("10.0.0.7").len() < 20, "{} lines", of("10.0.0.7").len());
    assert_eq!(of("10.0.0.8"), [1], "others are told of all the same");
}

#[test]
fn a_flood_from_everywhere_is_bounded_too() {
    let mut floods = Floods::default();
    let start = Instant::now();
    let from = |n: u32| refused(&format!("10.0.{}.{}:1", n / 256, n % 256));
    let told = (0..10_000).filter(|n| floods.passes(start, &from(*n))).count();
    assert!(told < 300, "{told} lines");
    assert!(floods.due(start + WINDOW - Duration::from_millis(1)).is_empty());
    let counted: u64 = floods.due(start + WINDOW).into_iter().map(|(_, times)| times).sum();
    assert_eq!(told as u64 + counted, 10_000);
    assert!(floods.is_empty());
    assert!(floods.passes(start + WINDOW, &from(0)), "it is told of again");
}

#[test]
fn one_masters_links_and_modules_push_nobody_elses_lines_out() {
    let (_dir, file) = place();
    let log = opened(&Audit { most_bytes: 64 << 10, keep: 1, ..Audit::new(&file) });
    let named = |name: &str, outcome| match accepted("10.0.0.7:1") {
        Event::Connection { peer, role, proof, session, why, .. } => {
            let name = Some(PeerId::new(name).expect("printable"));
            Event::Connection { outcome, peer, name, role, proof, session, why }
        }
        other => other,
    };
    log.tell(|| named("modest", Outcome::Accepted));
    for _ in 0..10_000 {
        log.tell(|| named("greedy", Outcome::Accepted));
        log.tell(|| named("greedy", Outcome::Ended));
    }
    // However many others are not let in meanwhile.
    for n in 0..10_000 {
        log.tell(|| refused(&format!("10.0.{}.{}:1", n / 256, n % 256)));
    }
    log.tell(|| named("modest", Outcome::Ended));
    log.close();
    let (last, before) = (lines(&file), file.with_extension("jsonl.1"));
    let before = if before.exists() { lines(&before) } else { Vec::new() };
    let all: Vec<_> = before.iter().chain(&last).collect();
    let of = |name: &str| all.iter().filter(|line| line["name"] == name).count();
    assert_eq!(of("modest"), 2);
    assert!((100..200).contains(&of("greedy")), "{}", of("greedy"));
    let times = |line: &Value| line.get("times").map_or(1, |n| n.as_u64().expect("a number"));
    let greedy = all.iter().filter(|line| line["name"] == "greedy").map(|line| times(line));
    assert_eq!(greedy.sum::<u64>(), 20_000);
}

#[test]
fn what_is_lost_is_counted_and_said() {
    let (dir, file) = place();
    let line = Line::of(&accepted("a"), 1).to_bytes();
    // Room for one, and not for the count as well.
    let audit = Audit { most_bytes: line.len() as u64, keep: 1, ..Audit::new(&file) };
    let mut log = Log::open(&audit).expect("opened");
    assert!(log.append(&line));
    // What is in the way of the next file is a directory with something in it.
    let obstacle = dir.path().join("audit.jsonl.1");
    fs::create_dir_all(obstacle.join("full")).expect("made");
    let mut writer = Writer { log, shared: Arc::default() };
    for _ in 0..5 {
        writer.write(&line);
    }
    assert_eq!(lines(&file).len(), 1, "it does not grow past its size");
    fs::remove_dir_all(&obstacle).expect("removed");
    writer.write(&line);
    let before = lines(&obstacle);
    assert_eq!((&before[0]["event"], &before[0]["lines"]), (&"lost".into(), &5.into()));
    assert_eq!(lines(&file)[0]["event"], "connection");
}
