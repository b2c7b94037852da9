//! `dpfw slaves` and `dpfw drain`.

use crate::kit::{Modules, Process, dpfw, nobody, slave};
use crate::slave::is_unfinished;
use rustix::process::Signal;

/// Digits that differ from run to run, and what they make differ.
fn stable(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

#[test]
fn slaves_are_a_table() {
    let (one, two) =
        (slave(&["--name", "one", "--slots", "1"]), slave(&["--name", "two", "--slots", "2"]));
    let put = ["store", "put", "k", "1", "--slave", &two.address];
    assert_eq!(dpfw(&put, "").code, 0);
    let left = dpfw(&["slaves", "--slave", &one.address, "--slave", &two.address], "");
    assert_eq!((left.code, left.err.as_str()), (0, ""));
    let lines: Vec<_> = left.out.lines().map(stable).collect();
    assert_eq!(
        lines[0].join(" "),
        "SLAVE NAME STATE SLOTS RUNNING WAITING QUEUED LOAD MEMORY STORE DISK ENTRIES EVICTED RESIDENTS MODULES UPTIME VERSION"
    );
    assert_eq!(lines[1][..7], [&one.address, "one", "serving", "1", "0", "0", "0"]);
    assert_eq!(lines[2][..7], [&two.address, "two", "serving", "2", "0", "0", "0"]);
    assert!(left.out.lines().all(|line| !line.contains('\u{1b}')));
}

#[test]
fn what_runs_is_told_and_so_is_who_is_not_there() {
    let modules = Modules::new();
    let one = slave(&["--name", "one", "--slots", "1"]);
    let nobody = nobody();
    let module = modules.path("loud.wat");
    let mut run = Process::start(&["run", &module, "spin", "--slave", &one.address]);
    run.says("forged");
    let left = dpfw(&["slaves", "--json", "--slave", &nobody, "--slave", &one.address], "");
    assert_eq!((left.code, left.err.as_str()), (5, ""));
    let told: Vec<serde_json::Value> =
        left.out.lines().map(|line| serde_json::from_str(line).expect("an object")).collect();
    assert_eq!(
        (&told[0]["slave"], &told[0]["state"]),
        (&nobody.as_str().into(), &"unreachable".into())
    );
    assert!(told[0]["error"].as_str().expect("a text").contains("Connection refused"));
    assert_eq!((&told[1]["name"], &told[1]["running"]), (&"one".into(), &1.into()));
    assert_eq!((&told[1]["links"], &told[1]["modules"]), (&2.into(), &1.into()));
    assert!(told[1]["memory_bytes"].as_u64() > Some(1 << 20));
    let left = dpfw(&["slaves", "--slave", &nobody], "");
    assert_eq!(left.code, 5);
    let row = stable(left.out.lines().nth(1).expect("a row"));
    assert_eq!(row[..2], [&nobody, "unreachable:"]);
}

#[test]
fn watching_goes_on_until_a_signal() {
    let one = slave(&["--name", "one"]);
    let mut watch = Process::start(&["slaves", "--slave", &one.address, "--watch=100ms"]);
    for _ in 0..3 {
        assert!(watch.line().starts_with("SLAVE"));
        assert!(watch.line().contains("serving"));
        assert_eq!(watch.line(), "");
    }
    // What goes and comes is a row as before.
    drop(one);
    while !watch.line().contains("unreachable") {}
    watch.signal(Signal::INT);
    let left = watch.finish();
    assert_eq!((left.code, left.err.as_str()), (130, ""));
}

#[test]
fn a_slave_is_drained_from_elsewhere() {
    let modules = Modules::new();
    let mut one = slave(&["-v", "--name", "one", "--drain", "1h"]);
    let module = modules.path("loud.wat");
    let mut run = Process::start(&["run", &module, "linger", "--slave", &one.address]);
    run.says("forged");
    let mut drain = Process::start(&["drain", "--slave", &one.address, "--wait"]);
    assert_eq!(drain.line(), format!("one at {}: draining", one.address));
    one.process.says("a master asks for it");
    drain.says("1 task still runs");
    let left = run.finish();
    assert_eq!((left.code, left.out.as_str()), (0, "null\n"), "{left:?}");
    assert_eq!(drain.line(), format!("one at {}: drained", one.address));
    assert_eq!(drain.finish().code, 0);
    assert_eq!(one.process.finish().code, 0);
}

#[test]
fn a_drain_from_elsewhere_has_the_slaves_time_limit() {
    let modules = Modules::new();
    let one = slave(&["--drain", "50ms"]);
    let module = modules.path("loud.wat");
    let mut run =
        Process::start(&["run", &module, "spin", "--slave", &one.address, "--dial-tries", "1"]);
    run.says("forged");
    let left = dpfw(&["drain", "--json", "--slave", &one.address], "");
    assert_eq!(left.code, 0, "{left:?}");
    assert!(left.out.contains("\"state\":\"draining\""), "{left:?}");
    let left = one.process.finish();
    assert_eq!(left.code, 8);
    is_unfinished(&left.err);
    assert_eq!(run.finish().code, 5);
}

#[test]
fn nobody_can_be_drained_where_nobody_is() {
    let nobody = nobody();
    let left = dpfw(&["drain", "--slave", &nobody], "");
    assert_eq!(left.code, 5);
    insta::assert_snapshot!(left.err.replace(&nobody, "ADDR"), @r"
    error: no link to a slave: ADDR cannot be reached (tried once): Connection refused (os error 111)
    hint: is a slave there? `dpfw slave --listen ADDR` starts one
    ");
}
