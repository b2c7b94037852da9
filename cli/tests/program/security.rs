//! How links are secured, as a person does it.

use crate::kit::{Left, Modules, dpfw, slave};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

fn certs(args: &[&str]) -> Left {
    let left = dpfw(&[&["certs"], args].concat(), "");
    assert_eq!(left.code, 0, "{left:?}");
    left
}

#[test]
fn four_commands_make_links_over_tls() {
    let home = tempfile::tempdir().expect("a directory");
    let dir = home.path().join("certs");
    let (path, at) = (dir.display().to_string(), |name: &str| dir.join(name).display().to_string());
    certs(&["init", &path]);
    certs(&["issue", "--dir", &path, "--role", "slave", "--name", "slave-1"]);
    certs(&["issue", "--dir", &path, "--role", "master", "--name", "master-1"]);
    let tls = |name: &str| {
        ["--identity", &at(name), "--authority", &at("ca.pem"), "--revoked", &at("crl.pem")]
            .map(str::to_owned)
    };
    let (ours, theirs) = (tls("master-1.pem"), tls("slave-1.pem"));
    let (ours, theirs) = (ours.each_ref().map(|s| &**s), theirs.each_ref().map(|s| &**s));
    let there = slave(&theirs);
    let modules = Modules::new();
    let module = modules.path("tasks.wasm");
    let run = ["run", &module, "add", "[2, 3]", "--slave", &there.address];
    let left = dpfw(&[&run[..], &ours].concat(), "");
    assert_eq!((left.code, left.out.as_str()), (0, "5\n"), "{left:?}");
    let slaves = ["slaves", "--slave", &there.address];
    let left = dpfw(&[&slaves[..], &ours].concat(), "");
    assert!(left.out.contains("slave-1"), "{left:?}");
    // Without a certificate there is nothing to be had, and it is said what is missing.
    let left = dpfw(&[&run[..], &["--dial-tries", "1"]].concat(), "");
    assert_eq!((left.code, left.out.as_str()), (5, ""), "{left:?}");
    assert!(left.err.contains("wants TLS") && left.err.contains("--identity"), "{left:?}");
    // Nor with a slave's.
    let left = dpfw(&[&run[..], &theirs].concat(), "");
    assert_eq!(left.code, 2, "{left:?}");
    assert!(left.err.contains("--role master"), "{left:?}");
}

#[test]
fn beyond_loopback_the_commands_are_told_that_mend_it() {
    let left = dpfw(&["slave", "--listen", "0.0.0.0:0"], "");
    assert_eq!(left.code, 2);
    insta::assert_snapshot!(left.err);
}

#[test]
fn a_token_is_made_for_its_user_and_asked_of_everybody() {
    let home = tempfile::tempdir().expect("a directory");
    let token = home.path().join("mine").join("token").display().to_string();
    let there = slave(&["--token", &token]);
    let mode = std::fs::metadata(&token).expect("it was made").permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    let modules = Modules::new();
    let module = modules.path("tasks.wasm");
    let run = ["run", &module, "add", "[2, 3]", "--slave", &there.address, "--dial-tries", "1"];
    let with =
        |token: &Path| dpfw(&[&run[..], &["--token", &token.display().to_string()]].concat(), "");
    let left = with(Path::new(&token));
    assert_eq!((left.code, left.out.as_str()), (0, "5\n"), "{left:?}");
    let left = with(&home.path().join("other"));
    assert_eq!((left.code, left.out.as_str()), (5, ""), "{left:?}");
    assert!(left.err.contains("has not this user's token"), "{left:?}");
    let left = dpfw(&[&run[..], &["--insecure-network"]].concat(), "");
    assert_eq!(left.code, 5, "{left:?}");
    assert!(left.err.contains("have to show the token"), "{left:?}");
    // One that others may read is used by neither side.
    std::fs::set_permissions(&token, PermissionsExt::from_mode(0o644)).expect("ours");
    let left = with(Path::new(&token));
    assert_eq!(left.code, 2, "{left:?}");
    assert!(left.err.contains("has mode 0644") && left.err.contains("remove it"), "{left:?}");
}

#[test]
fn what_does_not_go_together_is_told() {
    for args in [
        &["slave", "--listen", "127.0.0.1:0", "--identity", "a.pem"][..],
        &["slave", "--listen", "127.0.0.1:0", "--authority", "a.pem"],
        &["slave", "--listen", "127.0.0.1:0", "--token", "t", "--insecure-network"],
        &[
            "slave",
            "--listen",
            "127.0.0.1:0",
            "--identity",
            "a",
            "--authority",
            "b",
            "--token",
            "t",
        ],
        &[
            "slave",
            "--listen",
            "127.0.0.1:0",
            "--identity",
            "/nowhere/a",
            "--authority",
            "/nowhere/b",
        ],
    ] {
        let left = dpfw(args, "");
        assert_eq!((left.code, left.out.as_str()), (2, ""), "{args:?}: {left:?}");
    }
}
