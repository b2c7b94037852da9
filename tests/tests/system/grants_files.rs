//! Directories that guests are granted, and that nothing else is reached from there.

use super::grants::{everyone, granting};
use anyhow::Result;
use dpfw::grants::{Directory, Grants, Rule, Who};
use dpfw::{CallExt, Cause, Limit, Limits};
use dpfw_test_tasks::{
    add, change, names, read_file, read_without_end, say_and_read, window, write_file,
};
use dpfw_tests::fleet::{Pair, slave};
use dpfw_tests::lines::Lines;
use dpfw_tests::programs::probe;
use dpfw_tests::wait::within;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use tempfile::TempDir;

/// A directory with a file, beside one that nobody was granted.
struct Place {
    root: TempDir,
}

impl Place {
    fn new() -> Result<Self> {
        let root = tempfile::tempdir()?;
        for name in ["in", "in/deep", "out"] {
            fs::create_dir(root.path().join(name))?;
        }
        fs::write(root.path().join("in/f"), "text")?;
        fs::write(root.path().join("in/deep/g"), "deeper")?;
        fs::write(root.path().join("out/secret"), "secret")?;
        Ok(Self { root })
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.root.path().join(name)
    }

    fn read_only(&self) -> Grants {
        everyone(|rule| rule.directories.push(Directory::read_only(self.path("in"), "/d")))
    }

    fn writable(&self) -> Grants {
        everyone(|rule| rule.directories.push(Directory::writable(self.path("in"), "/d")))
    }
}

async fn read(pair: &Pair, path: &str) -> Result<Result<String, String>> {
    match within("the file", pair.master.dispatch(read_file::call(path.into()))).await? {
        Ok(text) => Ok(Ok(text)),
        Err(error) => match error.cause() {
            Cause::Failed { message } => Ok(Err(message.clone())),
            _ => Err(error.into()),
        },
    }
}

#[tokio::test]
async fn files_of_a_granted_directory_are_read() -> Result<()> {
    let place = Place::new()?;
    let pair = granting(place.read_only()).await?;
    assert_eq!(read(&pair, "/d/f").await?, Ok("text".into()));
    assert_eq!(read(&pair, "/d/deep/g").await?, Ok("deeper".into()));
    assert_eq!(read(&pair, "/d/deep/../f").await?, Ok("text".into()));
    let found = within("the names", pair.master.dispatch(names::call("/d".into()))).await??;
    assert_eq!(found, ["deep", "f"]);
    // Other tasks run as they did.
    assert_eq!(within("the sum", pair.master.dispatch(add::call(2, 3))).await??, 5);
    Ok(())
}

#[tokio::test]
async fn nothing_is_reached_outside_of_it() -> Result<()> {
    let place = Place::new()?;
    let secret = place.path("out/secret");
    symlink(&secret, place.path("in/absolute"))?;
    symlink("../out/secret", place.path("in/relative"))?;
    symlink("../out", place.path("in/directory"))?;
    symlink("/proc/self/root", place.path("in/proc"))?;
    symlink("f", place.path("in/inside"))?;
    let pair = granting(place.writable()).await?;
    let outside = format!("/d/proc{}", secret.display());
    let absolute = secret.display().to_string();
    for path in [
        "/d/../out/secret",
        "/d/deep/../../out/secret",
        "/d/deep/../../../../../../../../etc/passwd",
        "/d/absolute",
        "/d/relative",
        "/d/directory/secret",
        "/d/proc/etc/passwd",
        &outside,
        &absolute,
        "/etc/passwd",
        "../out/secret",
        "secret",
    ] {
        let found = read(&pair, path).await?;
        assert!(found.is_err(), "{path}: {found:?}");
        let written = pair.master.dispatch(write_file::call(path.into(), "mine".into()));
        let error = within("the refusal", written).await?.expect_err(path);
        assert!(matches!(error.cause(), Cause::Failed { .. }), "{path}: {error}");
    }
    assert_eq!(fs::read_to_string(&secret)?, "secret");
    assert_eq!(read(&pair, "/d/inside").await?, Ok("text".into()), "a link within is one");
    // Programs have the same, by the same means.
    let output =
        within("it", pair.master.output(probe(&["read", "/d/f", "/d/relative"]))).await??;
    assert_eq!(String::from_utf8_lossy(&output.stdout), "text\nPermissionDenied\n");
    Ok(())
}

#[tokio::test]
async fn a_read_only_directory_refuses_every_change() -> Result<()> {
    let place = Place::new()?;
    let pair = granting(place.read_only()).await?;
    for directory in ["/d", "/d/deep"] {
        let file = if directory == "/d" { "f" } else { "g" };
        let changes = pair.master.dispatch(change::call(directory.into(), file.into()));
        assert_eq!(within("the tries", changes).await??, Vec::<String>::new());
    }
    assert_eq!(fs::read_to_string(place.path("in/f"))?, "text");
    assert_eq!(fs::read_dir(place.path("in"))?.count(), 2);
    Ok(())
}

#[tokio::test]
async fn a_writable_directory_is_written_to() -> Result<()> {
    let place = Place::new()?;
    let pair = granting(place.writable()).await?;
    let written = pair.master.dispatch(write_file::call("/d/new".into(), "mine".into()));
    within("the file", written).await??;
    assert_eq!(fs::read_to_string(place.path("in/new"))?, "mine");
    let changes = pair.master.dispatch(change::call("/d/deep".into(), "g".into()));
    let changed = within("the changes", changes).await??;
    assert!(
        changed.contains(&"append".into()) && changed.contains(&"rename".into()),
        "{changed:?}"
    );
    Ok(())
}

#[tokio::test]
async fn the_directory_is_the_one_that_was_opened_at_the_start() -> Result<()> {
    let place = Place::new()?;
    let pair = granting(place.read_only()).await?;
    fs::rename(place.path("in"), place.path("moved"))?;
    symlink(place.path("out"), place.path("in"))?;
    assert_eq!(read(&pair, "/d/f").await?, Ok("text".into()));
    assert!(read(&pair, "/d/secret").await?.is_err());
    Ok(())
}

#[tokio::test]
async fn a_directory_is_writable_if_one_of_its_rules_says_so() -> Result<()> {
    let place = Place::new()?;
    let mut grants = place.read_only();
    let module = add::call(0, 0).task().module().hash();
    let mut rule = Rule::of(Who::Module(module));
    rule.directories.push(Directory::writable(place.path("in"), "/d"));
    rule.directories.push(Directory::writable(place.path("out"), "/d"));
    grants.rules.push(rule);
    let pair = granting(grants).await?;
    within("it", pair.master.dispatch(write_file::call("/d/n".into(), "x".into()))).await??;
    assert!(place.path("in/n").exists() && !place.path("out/n").exists());
    Ok(())
}

#[tokio::test]
async fn residents_and_maps_have_files() -> Result<()> {
    let place = Place::new()?;
    let pair = granting(place.read_only()).await?;
    let resident = within("it", pair.master.spawn("k", window::new())).await??;
    for _ in 0..2 {
        let text = within("the text", resident.call(window::read("/d/f".into()))).await??;
        assert_eq!(text, "text");
    }
    let paths = (0..20).map(|n| if n % 2 == 0 { "/d/f" } else { "/d/deep/g" }.to_owned());
    let all = within("the map", pair.master.map(paths, read_file::call).chunk(5).all()).await??;
    assert_eq!((all.len(), all[0].as_str(), all[19].as_str()), (20, "text", "deeper"));
    Ok(())
}

#[tokio::test]
async fn what_it_says_is_logged_in_its_order() -> Result<()> {
    let lines = Lines::capture();
    let place = Place::new()?;
    let pair = granting(place.read_only()).await?;
    within("it", pair.master.dispatch(say_and_read::call("/d/f".into()))).await??;
    for text in ["before the file", "behind the file"] {
        let line = lines.wait_for(&["dpfw::task", "say_and_read", text]).await?;
        assert!(line.contains("target=\"stdout\""), "{line}");
    }
    Ok(())
}

#[tokio::test]
async fn file_calls_are_charged_for() -> Result<()> {
    let place = Place::new()?;
    fs::write(place.path("in/empty"), "")?;
    let mut limits = Limits::default();
    limits.host_calls = 1000;
    let pair = Pair::start(slave("s1", 1)?.limits(limits).grants(place.read_only())).await?;
    let task = pair.master.dispatch(read_without_end::call("/d/empty".into()));
    let error = within("the limit", task).await?.expect_err("it reads without end");
    let calls = Cause::Limit { limit: Limit::HostCalls, allowed: 1000 };
    assert_eq!(error.cause(), &calls, "{error}");
    assert_eq!(read(&pair, "/d/f").await?, Ok("text".into()), "the next has its own");
    Ok(())
}

/// A pipe that nobody writes to holds up its reader; nobody else, and not beyond its deadline.
#[tokio::test]
async fn a_file_that_never_answers_holds_no_slot_and_no_deadline() -> Result<()> {
    let place = Place::new()?;
    let pipe = place.path("in/pipe");
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RWXU)?;
    let pair = granting(place.read_only()).await?;
    let call = read_file::call("/d/pipe".into()).timeout(std::time::Duration::from_secs(2));
    let stuck = pair.master.dispatch(call);
    let slave = pair.linked()?;
    dpfw_tests::wait::until("it to wait", async || Ok(slave.describe().await?.waiting == 1))
        .await?;
    assert_eq!(within("the sum", pair.master.dispatch(add::call(2, 3))).await??, 5);
    let error = within("the deadline", stuck).await?.expect_err("nobody writes");
    assert_eq!(error.cause(), &Cause::DeadlineExceeded, "{error}");
    // The thread that opens it is free again as soon as somebody writes.
    fs::OpenOptions::new().write(true).open(&pipe)?;
    Ok(())
}

#[tokio::test]
async fn without_a_grant_there_are_no_files() -> Result<()> {
    let place = Place::new()?;
    let pair = Pair::simple().await?;
    let path = place.path("in/f").display().to_string();
    assert!(Path::new(&path).exists());
    assert!(read(&pair, &path).await?.is_err());
    Ok(())
}
