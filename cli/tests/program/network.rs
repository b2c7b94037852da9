//! Addresses, dialling and listening.

use crate::kit::{Modules, Process, dpfw, nobody, slave};
use rustix::process::Signal;

#[test]
fn beyond_loopback_everything_is_refused() {
    let modules = Modules::new();
    let module = modules.path("plain.wat");
    for args in [
        &["slave", "--listen", "0.0.0.0:0"][..],
        &["slave", "--dial", "192.0.2.1:9"],
        &["slave", "--listen", "127.0.0.1:0", "--dial", "192.0.2.1:9"],
        &["run", &module, "nothing", "--slave", "192.0.2.1:9"],
        &["map", &module, "nothing", "--slave", "192.0.2.1:9"],
        &["map", &module, "nothing", "--listen", "[::]:0"],
    ] {
        let left = dpfw(args, "");
        assert_eq!(left.code, 2, "{args:?}: {left:?}");
        assert!(left.err.contains("is beyond loopback"), "{left:?}");
        assert!(left.err.contains("--insecure-network"), "{left:?}");
    }
}

#[test]
fn an_insecure_network_is_warned_of() {
    let mut slave = Process::start(&["slave", "--listen", "0.0.0.0:0", "--insecure-network"]);
    assert!(slave.line().starts_with("listening on 0.0.0.0:"));
    slave.signal(Signal::TERM);
    let left = slave.finish();
    assert_eq!(left.code, 0);
    insta::assert_snapshot!(left.err, @r"
    warning: --insecure-network: LINKS ARE NEITHER ENCRYPTED NOR AUTHENTICATED.
      Whoever reaches a port of this process, or one that it dials, can run tasks,
      read and change everything that is sent, and take a slave's or a master's place.
      Use it only on a network where everybody may do so.
    ");
}

#[test]
fn nobody_there_ends_with_5() {
    let modules = Modules::new();
    let (module, address) = (modules.path("plain.wat"), nobody());
    let once = ["--dial-tries", "1"];
    for args in [
        &["run", &module, "nothing", "--slave", &address][..],
        &["map", &module, "nothing", "--slave", &address],
        &["slave", "--dial", &address],
    ] {
        let left = dpfw(&[args, &once].concat(), "");
        assert_eq!(left.code, 5, "{left:?}");
        let expected = format!("{address} cannot be reached (tried once): Connection refused");
        assert!(left.err.contains(&expected), "{left:?}");
    }
}

#[test]
fn whoever_does_not_speak_dpfw_is_told_apart() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound").to_string();
    let other = std::thread::spawn(move || {
        use std::io::Write;
        let (mut stream, _) = listener.accept().expect("a connection");
        // It may hang up before it has read all.
        let _ = stream.write_all(b"SSH-2.0-something_1.0\r\n");
        stream
    });
    let modules = Modules::new();
    let left = dpfw(&["run", &modules.path("plain.wat"), "nothing", "--slave", &address], "");
    assert_eq!(left.code, 5);
    assert!(left.err.contains("does not speak dpfw"), "{left:?}");
    drop(other.join());
}

#[test]
fn slaves_dial_a_master_that_listens() {
    let modules = Modules::new();
    let module = modules.path("tasks.wasm");
    let mut map = Process::start(&["map", &module, "add", "--listen", "127.0.0.1:0"]);
    let line = map.says("listening on ");
    let address = line.strip_prefix("listening on ").expect("an address");
    let slave = Process::start(&["slave", "--dial", address]);
    map.write("[2, 3]\n[4, 5]\n");
    assert_eq!((map.line(), map.line()), ("5".into(), "9".into()));
    let left = map.finish();
    assert_eq!(left.code, 0, "{left:?}");
    slave.signal(Signal::TERM);
    assert_eq!(slave.finish().code, 0);
}

#[test]
fn several_masters_share_a_slave() {
    let modules = Modules::new();
    let slave = slave(&[]);
    let module = modules.path("tasks.wasm");
    let args = ["map", &module, "add", "--slave", &slave.address];
    let mut maps = [Process::start(&args), Process::start(&args)];
    for map in &mut maps {
        map.write("[1, 1]\n");
        assert_eq!(map.line(), "2");
    }
    for map in maps {
        assert_eq!(map.finish().code, 0);
    }
}
