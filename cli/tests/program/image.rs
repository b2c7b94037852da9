//! `dpfw image`, and tasks that start from one.

use crate::kit::{Left, Modules, Slave, dpfw, slave};
use rustix::process::Signal;
use serde_json::Value;

/// Two slaves' worth of commands on one module.
struct Scene {
    modules: Modules,
    slave: Slave,
    /// Its compiled code: what is on disk from other tests is no matter.
    home: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        let home = tempfile::tempdir().expect("a directory");
        Self { modules: Modules::new(), slave: Self::start(&home), home }
    }

    fn start(home: &tempfile::TempDir) -> Slave {
        // The slave makes it, for itself alone.
        let cache = home.path().join("cache").display().to_string();
        slave(&["--name", "s1", "--cache", &cache])
    }

    /// Ends the slave without a word, and starts it again.
    fn restart(&mut self) {
        self.slave.process.signal(Signal::KILL);
        self.slave = Self::start(&self.home);
    }

    fn image(&self, args: &[&str]) -> Left {
        dpfw(&[&["image"], args, &["--slave", &self.slave.address]].concat(), "")
    }

    fn build(&self, args: &[&str]) -> Left {
        let module = self.modules.path("imaged.wat");
        self.image(&[&["build", &module], args].concat())
    }

    fn run(&self, args: &[&str]) -> Left {
        let module = self.modules.path("imaged.wat");
        dpfw(&[&["run", &module], args, &["--slave", &self.slave.address]].concat(), "")
    }

    /// What a person reads.
    fn shown(&self, left: &Left) -> String {
        format!(
            "{}{}[{}]",
            self.modules.stable(&left.out),
            self.modules.stable(&left.err),
            left.code
        )
    }

    fn keys(&self) -> Vec<String> {
        let left = self.image(&["list", "--json"]);
        let key = |line: &str| {
            let entry: Value = serde_json::from_str(line).expect("an object a line");
            entry["key"].as_str().expect("a key").to_owned()
        };
        left.out.lines().map(key).collect()
    }
}

/// The cells of a table, row by row.
fn cells(text: &str) -> Vec<Vec<&str>> {
    text.lines().map(|line| line.split_whitespace().collect()).collect()
}

#[test]
fn an_image_is_built_listed_started_from_and_dropped() {
    let scene = Scene::new();
    let left = scene.build(&["fill", "[7]", "--name", "seven"]);
    let rows = cells(&left.out);
    assert_eq!((left.code, rows.len()), (0, 2), "{left:?}");
    assert_eq!(rows[0], ["SLAVE", "KEY", "ID", "CAME", "MEMORY", "INIT", "TOOK"]);
    assert_eq!((rows[1][..2].to_vec(), rows[1][3]), (vec!["s1", "seven"], "built"));
    let id = rows[1][2].to_owned();
    let left = scene.image(&["list"]);
    let rows = cells(&left.out);
    assert_eq!(rows[0][..4], ["KEY", "ID", "INIT", "MODULE"]);
    assert_eq!(rows[1][..3], ["seven", &id, "fill"]);
    assert!(rows[1].contains(&"built"), "{left:?}");
    assert_eq!(scene.shown(&scene.run(&["read", "--image", "seven"])), "7\n[0]");
    let module = scene.modules.path("imaged.wat");
    let map = ["map", &module, "plus", "--image", "seven", "--slave", &scene.slave.address];
    assert_eq!(dpfw(&map, "[1]\n[2]\n[3]\n").out, "8\n9\n10\n");
    assert_eq!(scene.shown(&scene.image(&["drop", "seven"])), "[0]");
    assert_eq!(scene.keys(), Vec::<String>::new());
    // It is gone from the disk as well.
    let left = scene.build(&["fill", "[7]", "--name", "seven"]);
    assert_eq!((left.code, cells(&left.out)[1][3]), (0, "built"), "{left:?}");
}

#[test]
fn an_image_is_an_entry_among_others_with_its_size_last_use_and_owner() {
    let scene = Scene::new();
    assert_eq!(scene.build(&["fill", "[7]", "--name", "seven"]).code, 0);
    let store = |args: &[&str]| {
        let left = dpfw(&[&["store"], args, &["--slave", &scene.slave.address]].concat(), "");
        assert_eq!(left.code, 0, "{left:?}");
        left.out
    };
    store(&["put", "six", "6"]);
    let json = store(&["list", "--json"]);
    let entries: Vec<Value> =
        json.lines().map(|line| serde_json::from_str(line).expect("an object")).collect();
    let table = store(&["list"]);
    let rows = cells(&table);
    assert_eq!(rows[0], ["KEY", "KIND", "BYTES", "VERSION", "IDLE", "OWNER", "KEPT"]);
    assert_eq!((rows.len(), entries.len()), (3, 2));
    let built = scene.image(&["list", "--json"]).out;
    let built: Value = serde_json::from_str(&built).expect("one object");
    let expected = [("seven", "image", Some("evictable")), ("six", "value", None)];
    for ((row, entry), (key, kind, kept)) in rows[1..].iter().zip(&entries).zip(expected) {
        let text = |field: &str| entry[field].to_string().trim_matches('"').to_owned();
        assert_eq!(row[..4], [key, kind, &text("bytes"), &text("version")]);
        assert!(entry["idle_s"].is_u64() && humantime::parse_duration(row[4]).is_ok(), "{row:?}");
        assert_eq!((row[5], row.get(6).copied()), (&*text("owner"), kept));
        assert!(row[5].starts_with("master-"), "{row:?}");
    }
    assert_eq!(entries[0]["owner"], built["owner"]);
    // An image's size is what of its memory and of its module is there.
    assert!(entries[0]["bytes"].as_u64() > entries[1]["bytes"].as_u64(), "{entries:?}");
}

#[test]
fn an_image_is_found_by_its_name_when_its_slave_was_started_again() {
    let mut scene = Scene::new();
    assert_eq!(scene.build(&["fill", "[7]", "--name", "seven"]).code, 0);
    scene.restart();
    let left = scene.image(&["list"]);
    let rows = cells(&left.out);
    assert_eq!((left.code, rows.len()), (0, 2), "{left:?}");
    assert!(rows[1][0] == "seven" && rows[1].contains(&"kept"), "{left:?}");
    assert_eq!(scene.shown(&scene.run(&["read", "--image", "seven"])), "7\n[0]");
    assert_eq!(scene.keys(), ["seven"]);
}

#[test]
fn everything_of_an_image_is_there_as_json() {
    let scene = Scene::new();
    let left = scene.build(&["fill", "[7]", "--json"]);
    let built: Value = serde_json::from_str(&left.out).expect("one object");
    let key = built["key"].as_str().expect("the slave's choice");
    let id = built["id"].as_str().expect("an id");
    assert_eq!((&built["slave"], &built["init"]), (&"s1".into(), &"fill".into()));
    assert_eq!(key, format!("fill {}", &id[..16]));
    let left = scene.image(&["list", "--json"]);
    let listed: Value = serde_json::from_str(&left.out).expect("one object");
    for field in
        ["key", "id", "init", "module", "hash", "memory_bytes", "snapshot_bytes", "init_us"]
    {
        assert_eq!(listed[field], built[field], "{field}");
        assert!(!listed[field].is_null(), "{field}");
    }
    assert_eq!((&listed["origin"], &listed["pinned"]), (&"built".into(), &false.into()));
    // By its id it is dropped under all of its keys.
    assert_eq!(scene.build(&["fill", "[7]", "--name", "one"]).code, 0);
    assert_eq!(scene.build(&["fill", "[7]", "--name", "two"]).code, 0);
    assert_eq!(scene.keys(), ["one", "two"]);
    let left = scene.image(&["drop", &id[..8], "--json"]);
    let dropped: Vec<Value> =
        left.out.lines().map(|line| serde_json::from_str(line).expect("an object")).collect();
    assert_eq!(dropped.len(), 2);
    assert!(dropped.iter().all(|it| it["removed"] == true && it["id"] == id), "{left:?}");
    assert_eq!(scene.keys(), Vec::<String>::new());
}

#[test]
fn what_cannot_be_built_is_told() {
    let scene = Scene::new();
    insta::assert_snapshot!(scene.shown(&scene.build(&["full", "[7]"])), @r"
    error: imaged.wat: the module has no init `full`
      it has fill(n: u8) -> Result<(), _>
    [4]
    ");
    insta::assert_snapshot!(scene.shown(&scene.build(&["fill"])), @r"
    error: `fill(n: u8) -> Result<(), _>` takes 1 argument, not 0
    [4]
    ");
    insta::assert_snapshot!(scene.shown(&scene.build(&["fill", "[0]"])), @r"
    error: `fill` on s1: the image was not built: its init `fill` failed: there is nothing to fill it with
    hint: `dpfw image build --afresh` runs the init again
    [1]
    ");
    let store = ["store", "put", "seven", "1", "--slave", &scene.slave.address];
    assert_eq!(dpfw(&store, "").code, 0);
    insta::assert_snapshot!(scene.shown(&scene.build(&["fill", "[7]", "--name", "seven"])), @r"
    error: `fill` on s1: `seven` holds a value, and something else was asked for
    [1]
    ");
    let module = scene.modules.path("plain.wat");
    let left = scene.image(&["build", &module, "fill"]);
    insta::assert_snapshot!(scene.shown(&left), @r"
    error: plain.wat: the module has no init `fill`; it exports none
    [4]
    ");
}

#[test]
fn what_is_no_image_is_told() {
    let scene = Scene::new();
    insta::assert_snapshot!(scene.shown(&scene.run(&["read", "--image", "seven"])), @r"
    error: no slave has an image `seven` (1 slave asked)
    hint: `dpfw image build MODULE INIT --name KEY` makes one
    [9]
    ");
    insta::assert_snapshot!(scene.shown(&scene.run(&["read"])), @r"
    error: `read`: the task needs an image of `fill`: `read` was dispatched without one
    hint: `dpfw image build MODULE INIT --name KEY` makes one, `--image KEY` starts from it
    [1]
    ");
    insta::assert_snapshot!(scene.shown(&scene.image(&["drop", "seven"])), @r"
    error: there is no image `seven`
    hint: `dpfw image list` shows those that there are
    [9]
    ");
    let store = ["store", "put", "seven", "1", "--slave", &scene.slave.address];
    assert_eq!(dpfw(&store, "").code, 0);
    insta::assert_snapshot!(scene.shown(&scene.run(&["read", "--image", "seven"])), @r"
    error: `seven` is no image on s1: its entry is of the kind `value`
    hint: `dpfw image list` shows the images of a slave
    [2]
    ");
    insta::assert_snapshot!(scene.shown(&scene.image(&["drop", "seven"])), @r"
    error: `seven` is no image: its entry is of the kind `value`
    hint: `dpfw store remove` removes entries of any kind
    [2]
    ");
    assert_eq!(scene.shown(&scene.image(&["list"])), "[0]");
}
