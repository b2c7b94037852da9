//! `dpfw resident`.

use crate::kit::{Left, Modules, Process, Slave, dpfw, slave};
use rustix::process::Signal;

fn resident(slaves: &[&Slave], args: &[&str], input: &str) -> Left {
    let slaves = slaves.iter().flat_map(|slave| ["--slave", &slave.address]);
    dpfw(&[&["resident"], args, &slaves.collect::<Vec<_>>()].concat(), input)
}

/// What a person reads.
fn shown(left: &Left) -> String {
    format!("{}{}[{}]", left.out, left.err, left.code)
}

#[test]
fn a_counter_is_spawned_called_listed_and_stopped() {
    let (slave, modules) = (slave(&["--name", "s1"]), Modules::new());
    let resident = |args: &[&str], input: &str| shown(&resident(&[&slave], args, input));
    let tasks = modules.path("tasks.wasm");
    let spawned = resident(&["spawn", &tasks, "counter.new", "hits", "[40]"], "");
    assert_eq!(spawned, format!("hits on s1 at {}\n[0]", slave.address));
    insta::assert_snapshot!(resident(&["call", "hits", "bump"], ""), @r"
    41
    [0]
    ");
    insta::assert_snapshot!(resident(&["cast", "hits", "bump"], ""), @"[0]");
    insta::assert_snapshot!(resident(&["call", "hits", "bump", "-", "--module", &tasks], "[]"), @r"
    43
    [0]
    ");
    let listed = resident(&["list"], "");
    let row: Vec<_> = listed.lines().nth(1).expect("a row").split_whitespace().collect();
    assert_eq!(row[..6], ["hits", "counter", "s1", "alive", "3", "0"], "{listed}");
    let json = resident(&["list", "hi", "--json"], "");
    let object: serde_json::Value =
        serde_json::from_str(json.lines().next().expect("a line")).expect("JSON");
    assert_eq!((&object["served"], &object["saves"]), (&3.into(), &false.into()), "{json}");
    insta::assert_snapshot!(resident(&["spawn", &tasks, "counter.new", "hits", "[0]"], ""), @r"
    error: `counter.new` on s1: `hits` is taken: there is a resident under it
    hint: --get takes a resident that is there already, if it is of that class
    [10]
    ");
    let got = resident(&["spawn", &tasks, "counter.new", "hits", "[0]", "--get"], "");
    assert!(got.ends_with("[0]"), "{got}");
    insta::assert_snapshot!(resident(&["stop", "hits"], ""), @"[0]");
    for args in [&["call", "hits", "bump"][..], &["stop", "hits"]] {
        insta::allow_duplicates! {
            insta::assert_snapshot!(resident(args, ""), @r"
            error: `hits`: there is no resident under `hits`
            hint: `dpfw resident list` shows which residents there are
            [9]
            ");
        }
    }
    insta::assert_snapshot!(resident(&["list"], ""), @"[0]");
}

#[test]
fn what_cannot_be_called_is_told_in_words() {
    let (slave, modules) = (slave(&["--name", "s1"]), Modules::new());
    let resident = |args: &[&str]| shown(&resident(&[&slave], args, ""));
    let tasks = modules.path("tasks.wasm");
    let told = modules.stable(&resident(&["spawn", &tasks, "counter.make", "hits"]));
    insta::assert_snapshot!(told, @r"
    error: tasks.wasm: the module has no resident with `counter.make`
      it has counter.bump() -> u64
      it has counter.new(start: u64) -> Self
    [4]
    ");
    insta::assert_snapshot!(resident(&["spawn", &tasks, "counter.new", "hits"]), @r"
    error: `counter.new(start: u64) -> Self` takes 1 argument, not 0
    [4]
    ");
    insta::assert_snapshot!(resident(&["spawn", &tasks, "counter.new", "hits", "40"]), @r"
    error: ARGS cannot be used: it is a number, not an array; write an array with an element for each argument, for instance [2, 3]
    [2]
    ");
    assert!(resident(&["spawn", &tasks, "counter.new", "hits", "[1]"]).ends_with("[0]"));
    let missing = resident(&["call", "hits", "jump"]);
    assert!(missing.contains("no task `counter.jump`") && missing.ends_with("[4]"), "{missing}");
    let bad = resident(&["call", "hits", "bump", "[7]"]);
    assert!(bad.ends_with("[4]"), "{bad}");
    insta::assert_snapshot!(resident(&["call", "hits", "bump", "[7]", "--module", &tasks]), @r"
    error: `counter.bump() -> u64` takes 0 arguments, not 1
    [4]
    ");
}

#[test]
fn a_key_on_two_slaves_is_not_guessed_at() {
    let (one, other) = (slave(&["--name", "s1"]), slave(&["--name", "s2"]));
    let (modules, spawn) = (Modules::new(), ["counter.new", "hits", "[0]"]);
    let tasks = modules.path("tasks.wasm");
    for slave in [&one, &other] {
        let left = resident(&[slave], &[&["spawn", &tasks], &spawn[..]].concat(), "");
        assert_eq!(left.code, 0, "{}", left.err);
    }
    insta::assert_snapshot!(shown(&resident(&[&one, &other], &["call", "hits", "bump"], "")), @r"
    error: `hits`: the resident `hits` is on more than one slave: s1, s2
    hint: name the one slave that is meant (--slave)
    [2]
    ");
    assert_eq!(shown(&resident(&[&other], &["call", "hits", "bump"], "")), "1\n[0]");
}

/// A module whose residents save, panic and never end, as they are told; where it is.
fn unruly(modules: &Modules) -> String {
    let module = dpfw_test_tasks::add::task().module().bytes().expect("embedded").clone();
    let path = modules.path("unruly.wasm");
    std::fs::write(&path, module).expect("written");
    path
}

/// The slave as `dpfw slaves` tells of it.
fn told(slave: &Slave) -> serde_json::Value {
    let told = dpfw(&["slaves", "--json", "--slave", &slave.address], "").out;
    serde_json::from_str(&told).expect("an object")
}

#[test]
fn on_what_terms_a_resident_lives_is_said_on_the_command_line() {
    let modules = Modules::new();
    let module = unruly(&modules);
    let place = modules.path("store");
    let (durable, memory) = (slave(&["--store", &place]), slave(&[]));
    assert_eq!(
        (&told(&durable)["disk"], &told(&memory)["disk"]),
        (&"durable".into(), &"memory".into())
    );
    let at = |slave: &Slave, args: &[&str]| resident(&[slave], args, "");
    let spawn = |slave: &Slave, args: &[&str]| at(slave, &[&["spawn", &module], args].concat());
    let listed = |key: &str| -> serde_json::Value {
        let listed = at(&durable, &["list", key, "--json"]).out;
        serde_json::from_str(&listed).expect("an object")
    };
    // It is begun again, with what was on disk.
    let terms = ["--restart-every", "1ms", "--backoff", "20ms", "--mailbox", "7", "--durable"];
    let spawned = spawn(&durable, &[&["counter.new", "again", "[40]"], &terms[..]].concat());
    assert_eq!(spawned.code, 0, "{spawned:?}");
    assert_eq!(shown(&at(&durable, &["call", "again", "bump"])), "41\n[0]");
    assert_ne!(at(&durable, &["call", "again", "bump_and_panic"]).code, 0);
    assert_eq!(shown(&at(&durable, &["call", "again", "bump"])), "42\n[0]");
    let object = listed("again");
    assert_eq!((&object["mailbox"], &object["restarts"]), (&7.into(), &1.into()), "{object}");
    // It is not, and what it saved is asleep.
    let terms = ["--restart-every", "1h", "--retries", "0", "--durable"];
    let spawned = spawn(&durable, &[&["counter.new", "ends", "[40]"], &terms[..]].concat());
    assert_eq!(spawned.code, 0, "{spawned:?}");
    assert_eq!(shown(&at(&durable, &["call", "ends", "bump"])), "41\n[0]");
    assert_ne!(at(&durable, &["call", "ends", "bump_and_panic"]).code, 0);
    let ended = at(&durable, &["call", "ends", "bump"]);
    assert!(ended.code == 9 && ended.err.contains("get_or_spawn"), "{ended:?}");
    assert_eq!(listed("ends")["stage"], "asleep");
    assert_eq!(spawn(&durable, &["counter.new", "ends", "[0]"]).code, 10);
    assert_eq!(spawn(&durable, &["counter.new", "ends", "[0]", "--get"]).code, 0);
    assert_eq!(shown(&at(&durable, &["call", "ends", "bump"])), "42\n[0]");
    // What cannot be had is refused.
    let refused = spawn(&memory, &["counter.new", "kept", "[0]", "--durable"]);
    assert!(refused.code != 0 && refused.err.contains("no directory for its store"), "{refused:?}");
    let late = spawn(&memory, &["unruly.for_ever", "late", "--timeout", "100ms"]);
    assert!(late.code != 0 && late.err.contains("the deadline passed"), "{late:?}");
    assert_eq!(shown(&at(&memory, &["list"])), "[0]");
}

#[test]
fn a_call_whose_command_a_signal_ends_goes_on() {
    let (slave, modules) = (slave(&["--slots", "1"]), Modules::new());
    let module = unruly(&modules);
    let resident = |args: &[&str]| resident(&[&slave], args, "");
    assert_eq!(resident(&["spawn", &module, "unruly.new", "u"]).code, 0);
    let call = Process::start(&["resident", "call", "u", "spin", "--slave", &slave.address]);
    while told(&slave)["running"] != 1 {}
    call.signal(Signal::INT);
    let left = call.finish();
    assert!(left.code == 130 && left.err.contains("ended by a signal"), "{left:?}");
    assert_eq!(told(&slave)["running"], 1);
    let listed = resident(&["list", "--json"]).out;
    let object: serde_json::Value = serde_json::from_str(&listed).expect("an object");
    assert_eq!(object["stage"], "alive", "nobody took it from the others");
}
