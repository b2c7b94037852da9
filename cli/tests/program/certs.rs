//! `dpfw certs`.

use crate::kit::dpfw;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A directory for an authority, and the program in it.
struct Place {
    _keep: tempfile::TempDir,
    dir: PathBuf,
}

impl Place {
    fn new() -> Self {
        let keep = tempfile::tempdir().expect("a directory");
        let dir = keep.path().join("certs");
        Self { _keep: keep, dir }
    }

    /// What `dpfw certs` says, with what is different each time taken out.
    fn certs(&self, args: &[&str]) -> String {
        let args: Vec<_> = args.iter().map(|arg| arg.replace("DIR", self.dir())).collect();
        let args: Vec<_> = ["certs"].into_iter().chain(args.iter().map(String::as_str)).collect();
        let left = dpfw(&args, "");
        let text = format!("{}{}[{}]", left.out, left.err, left.code);
        redacted(&text.replace(self.dir(), "DIR"))
    }

    fn dir(&self) -> &str {
        self.dir.to_str().expect("UTF-8")
    }
}

/// Dates and serial numbers, by their form.
fn redacted(text: &str) -> String {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == ':';
    let mut out = String::new();
    let mut rest = text;
    while !rest.is_empty() {
        let word = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        let (first, after) = rest.split_at(word.max(1));
        let digits = |text: &str| text.bytes().all(|b| b.is_ascii_hexdigit());
        let is_date = first.len() >= 10 && first.as_bytes()[4] == b'-' && digits(&first[..4]);
        out.push_str(match first {
            _ if is_date => "DATE",
            _ if first.len() == 32 && digits(first) => "SERIAL",
            first => first,
        });
        rest = after;
    }
    out
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).expect("there").mode() & 0o777
}

#[test]
fn an_authority_is_made_and_says_what_is_next() {
    let place = Place::new();
    insta::assert_snapshot!(place.certs(&["init", "DIR", "--name", "ours"]), @r"
    DIR: the authority ours, in force until DATE
    DIR/ca.key is its key. Whoever has it can be any peer: keep it where no peer runs.

    Next, a certificate for each peer:
      dpfw certs issue --role slave --name slave-1 --san HOST --dir DIR
      dpfw certs issue --role master --name master-1 --dir DIR
    [0]
    ");
    insta::assert_snapshot!(
        place.certs(&["issue", "--role", "slave", "--name", "slave-1", "--san", "a.example.org",
            "--san", "10.0.0.7", "--dir", "DIR"]),
        @r"
    DIR/slave-1.pem: the slave slave-1, in force until DATE
    may be dialled as a.example.org, 10.0.0.7; namespaces: slave-1

    It has the peer's key: for that peer alone, with copies of the other two. Next, there:
      dpfw slave --listen 0.0.0.0:10000 --identity DIR/slave-1.pem --authority DIR/ca.pem --revoked DIR/crl.pem
    [0]
    "
    );
    insta::assert_snapshot!(
        place.certs(&["issue", "--role", "master", "--name", "batch", "--namespace", "team-a",
            "--namespace", "b/c", "--san", "::1", "--dir", "DIR"]),
        @r"
    DIR/batch.pem: the master batch, in force until DATE
    may be dialled as ::1; namespaces: team-a, b/c

    It has the peer's key: for that peer alone, with copies of the other two. Next, there:
      dpfw run tasks.wasm add '[2, 3]' --slave HOST:10000 --identity DIR/batch.pem --authority DIR/ca.pem --revoked DIR/crl.pem
    [0]
    "
    );
    insta::assert_snapshot!(
        place.certs(&["issue", "--role", "observer", "--name", "eye", "--dir", "DIR"]),
        @r"
    DIR/eye.pem: the observer eye, in force until DATE
    nobody dials it; namespaces: eye

    It has the peer's key: for that peer alone, with copies of the other two. Next, there:
      dpfw slaves --slave HOST:10000 --identity DIR/eye.pem --authority DIR/ca.pem --revoked DIR/crl.pem
    [0]
    "
    );
    for private in ["ca.key", "slave-1.pem", "batch.pem", "eye.pem"] {
        assert_eq!(mode(&place.dir.join(private)), 0o600, "{private}");
    }
    assert_eq!(mode(&place.dir), 0o700);
}

#[test]
fn certificates_are_renewed_revoked_and_shown() {
    let place = Place::new();
    place.certs(&["init", "DIR", "--name", "ours"]);
    let issue = ["issue", "--role", "slave", "--name", "s", "--san", "s.example.org"];
    place.certs(&[&issue[..], &["--dir", "DIR", "--namespace", "team-a"]].concat());
    insta::assert_snapshot!(place.certs(&["renew", "s", "--dir", "DIR"]), @r"
    DIR/s.pem: the slave s, in force until DATE
    may be dialled as s.example.org; namespaces: team-a
    [0]
    ");
    insta::assert_snapshot!(place.certs(&["show", "DIR/s.pem"]), @r"
    name        s
    role        slave
    namespaces  team-a
    dialled as  s.example.org
    in force    DATE to DATE (89 days left)
    issuer      ours
    serial      SERIAL
    [0]
    ");
    insta::assert_snapshot!(place.certs(&["show", "DIR/ca.pem"]), @r"
    name        ours
    role        authority
    in force    DATE to DATE (3649 days left)
    issuer      ours
    serial      SERIAL
    [0]
    ");
    insta::assert_snapshot!(place.certs(&["revoke", "s", "--dir", "DIR"]), @r"
    s: 2 certificates are revoked

    Next, copy DIR/crl.pem to every peer: it counts where it is (--revoked FILE).
    [0]
    ");
    insta::assert_snapshot!(place.certs(&["show", "DIR"]), @r"
    NAME  ROLE       STATE     UNTIL       NAMESPACES  SERIAL
    ours  authority  in force  DATE              SERIAL
    s     slave      revoked   DATE  team-a      SERIAL
    s     slave      revoked   DATE  team-a      SERIAL
    [0]
    ");
    insta::assert_snapshot!(place.certs(&["renew", "s", "--dir", "DIR"]), @r"
    error: the certificate of s was revoked: if it is to have another one nevertheless, say so with `dpfw certs issue --force`
    [2]
    ");
}

#[test]
fn programs_read_json() {
    let place = Place::new();
    insta::assert_snapshot!(place.certs(&["init", "DIR", "--name", "ours", "--json"]), @r#"
    {"directory":"DIR","in_force":{"from":"DATE","until":"DATE"},"name":"ours"}
    [0]
    "#);
    insta::assert_snapshot!(
        place.certs(&["issue", "--role", "master", "--name", "m", "--san", "m.example.org",
            "--dir", "DIR", "--json"]),
        @r#"
    {"file":"DIR/m.pem","in_force":{"from":"DATE","until":"DATE"},"name":"m","namespaces":[],"role":"master","sans":["m.example.org"],"serial":"SERIAL"}
    [0]
    "#
    );
    insta::assert_snapshot!(place.certs(&["revoke", "m", "--dir", "DIR", "--json"]), @r#"
    {"list":"DIR/crl.pem","listed":1,"revoked":["SERIAL"]}
    [0]
    "#);
    insta::assert_snapshot!(place.certs(&["show", "DIR", "--json"]), @r#"
    {"in_force":{"from":"DATE","until":"DATE"},"issuer":"ours","name":"ours","role":"authority","sans":[],"serial":"SERIAL","state":"in force"}
    {"in_force":{"from":"DATE","until":"DATE"},"issuer":"ours","name":"m","namespaces":[],"role":"master","sans":["m.example.org"],"serial":"SERIAL","state":"revoked"}
    [0]
    "#);
    insta::assert_snapshot!(place.certs(&["show", "DIR/none.pem", "--json"]), @r#"
    {"error":{"code":2,"hint":"`dpfw certs init DIR` makes an authority, and with it these files","message":"DIR/none.pem cannot be read: No such file or directory (os error 2)"}}
    [2]
    "#);
}

#[test]
fn what_cannot_be_done_is_said_with_what_can() {
    let place = Place::new();
    let issue = ["issue", "--role", "slave", "--name", "s", "--dir", "DIR"];
    insta::assert_snapshot!(place.certs(&issue), @r"
    error: DIR is no authority: `dpfw certs init` makes one there
    [2]
    ");
    place.certs(&["init", "DIR"]);
    insta::assert_snapshot!(place.certs(&["init", "DIR"]), @r"
    error: DIR is an authority already: `dpfw certs issue --dir` takes it; a new one needs a directory of its own
    [2]
    ");
    place.certs(&issue);
    insta::assert_snapshot!(place.certs(&issue), @r"
    error: s has a certificate already, DIR/s.pem: `dpfw certs renew s` makes a new one of the same kind, `--force` another one
    [2]
    ");
    assert!(place.certs(&[&issue[..], &["--force"]].concat()).ends_with("[0]"));
    insta::assert_snapshot!(place.certs(&["revoke", "nobody", "--dir", "DIR"]), @r"
    error: no certificate of nobody is known: `dpfw certs show` lists those that are
    [2]
    ");
    insta::assert_snapshot!(
        place.certs(&["issue", "--role", "slave", "--name", "../s", "--dir", "DIR"]),
        @r#"
    error: "../s" cannot be the name of a file: it may have letters, digits and -_.@+, does not begin with . or -, and is neither ca nor crl
    [2]
    "#
    );
    insta::assert_snapshot!(
        place.certs(&["issue", "--role", "slave", "--name", "t", "--san", "a/b", "--dir", "DIR"]),
        @r#"
    error: "a/b" is neither an address nor a name that a peer can be dialled by
    [2]
    "#
    );
    insta::assert_snapshot!(
        place.certs(&["issue", "--role", "slave", "--name", "t", "--days", "9999", "--dir", "DIR"]),
        @r"
    error: the authority itself is in force until DATE ask for fewer days, or make a new one with `dpfw certs init`
    [2]
    "
    );
    insta::assert_snapshot!(place.certs(&["issue", "--role", "boss", "--name", "t"]), @r#"
    error: invalid value 'boss' for '--role <master|slave|observer>': "boss" is no role: a certificate's is master, slave or observer

    For more information, try '--help'.
    [2]
    "#);
    insta::assert_snapshot!(place.certs(&["show", "DIR/crl.pem"]), @r"
    error: DIR/crl.pem has no certificate
    [2]
    ");
    std::fs::set_permissions(
        place.dir.join("s.pem"),
        std::os::unix::fs::PermissionsExt::from_mode(0o644),
    )
    .expect("changed");
    insta::assert_snapshot!(place.certs(&["show", "DIR/s.pem"]), @r"
    error: DIR/s.pem has a private key, and others may read it (mode 0644): `chmod 600` it, and issue it anew if anybody may have
    [2]
    ");
}
