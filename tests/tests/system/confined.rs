//! F36: modules that attack the compiler, which then has a process of its own.

use super::stage::{Stage, unharmed};
use anyhow::{Context, Result, ensure};
use dpfw::security::{CertRole, Security};
use dpfw::{
    ByteStream, Call, Cause, Confine, Dial, Limit, Limits, Master, Module, SlaveBuilder,
    StartError, Task,
};
use dpfw_certs::Request;
use dpfw_test_tasks::{add, word, words};
use dpfw_tests::certs::Place;
use dpfw_tests::fleet::{self, Pair};
use dpfw_tests::lines::Lines;
use dpfw_tests::process::Process;
use dpfw_tests::wait::{until, within};
use dpfw_tests::wasm::module;
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// A slave's program, which compiles as well if it is asked to.
const PROGRAM: &str = env!("CARGO_BIN_EXE_dpfw-test-slave");

/// A slave that compiles in processes of their own.
fn confined(cache: &Path, change: impl FnOnce(&mut Limits)) -> Result<SlaveBuilder> {
    let mut limits = Limits::default();
    change(&mut limits);
    let slave = fleet::slave("s1", 2)?.cache(cache).limits(limits);
    Ok(slave.confine_compiling(Confine::Always).compiler(PROGRAM))
}

/// The same, with the tests' good tasks compiled already: limits of the compiler are for others.
async fn stage(cache: &Path, change: impl FnOnce(&mut Limits)) -> Result<Stage> {
    unharmed(&Pair::start(confined(cache, |_| ())?).await?.master).await?;
    Stage::of(confined(cache, change)?).await
}

fn call(module: Module) -> Result<Call<i32>> {
    Ok(Task::new(module, "task").call(&[0; 0])?)
}

/// A module of so many functions, each with so many values that are needed to its end, and loops
/// over all of them.
fn heavy(functions: usize, values: usize, loops: usize) -> Result<Module> {
    let set = |n: usize| {
        let other = (n * 7 + 1) % values;
        format!("(local.set {n} (i64.mul (local.get {other}) (i64.const 3)))")
    };
    let body: String = (0..values).map(set).collect();
    let body = format!("(loop $l {body} (br_if $l (i64.eqz (local.get 0))))").repeat(loops);
    let functions = format!("(func (local {}) {body})", "i64 ".repeat(values)).repeat(functions);
    module(&format!("(module {functions} (func (export \"task\") (result i32) (i32.const 1)))"))
}

/// The processes that compile for a process.
fn compilers(of: Pid) -> Result<Vec<Pid>> {
    let mut found = Vec::new();
    for task in fs::read_dir(format!("/proc/{}/task", of.as_raw_nonzero()))? {
        // A thread may end meanwhile.
        let children = fs::read_to_string(task?.path().join("children")).unwrap_or_default();
        found
            .extend(children.split_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)));
    }
    found.retain(|pid| of_process(*pid, "cmdline").contains("dpfw-compile-child"));
    Ok(found)
}

/// What the system says of a process; nothing if there is none.
fn of_process(pid: Pid, what: &str) -> String {
    fs::read_to_string(format!("/proc/{}/{what}", pid.as_raw_nonzero())).unwrap_or_default()
}

/// Waits until nothing compiles for this process.
async fn none_left() -> Result<()> {
    until("the compilers to end", async || Ok(compilers(rustix::process::getpid())?.is_empty()))
        .await
}

#[tokio::test]
async fn f36_a_module_that_wants_too_much_memory_kills_its_compiler_and_is_refused() -> Result<()> {
    let (lines, home) = (Lines::capture(), tempfile::tempdir()?);
    let mut stage = stage(&home.path().join("cache"), |l| l.compile_memory = 8 << 20).await?;
    let bomb = heavy(1, 9_000, 4)?;
    for _ in 0..2 {
        let cause = stage.cause(call(bomb.clone())?).await?;
        assert_eq!(cause, Cause::Limit { limit: Limit::CompileMemory, allowed: 8 << 20 });
    }
    // It was remembered: no second process died of it.
    assert_eq!(lines.with(&["a module is refused", &bomb.to_string()]).len(), 1);
    assert_eq!(stage.master().dispatch(call(heavy(1, 2, 1)?)?).await?, 1);
    none_left().await?;
    stage.end().await
}

#[tokio::test]
async fn f36_a_module_that_compiles_for_too_long_is_killed_and_refused() -> Result<()> {
    let home = tempfile::tempdir()?;
    let time = Duration::from_millis(1500);
    let stage = stage(&home.path().join("cache"), |l| l.compile = time).await?;
    let slow = stage.master().dispatch(call(heavy(100, 5_000, 1)?)?);
    until("it to be compiled", async || Ok(!compilers(rustix::process::getpid())?.is_empty()))
        .await?;
    // Others go on meanwhile, and others' modules are compiled.
    unharmed(stage.master()).await?;
    assert_eq!(stage.master().dispatch(call(heavy(1, 3, 1)?)?).await?, 1);
    ensure!(!slow.is_finished(), "it was not slow");
    let error = within("its refusal", slow).await?.expect_err("it takes too long");
    let cause = error.cause().clone();
    assert_eq!(cause, Cause::Limit { limit: Limit::CompileTime, allowed: 1500 });
    none_left().await?;
    stage.end_after_anything().await
}

#[tokio::test]
async fn f36_a_compiler_that_is_killed_takes_nobody_with_it() -> Result<()> {
    let home = tempfile::tempdir()?;
    let stage = stage(&home.path().join("cache"), |_| ()).await?;
    let slow = stage.master().dispatch(call(heavy(100, 5_000, 1)?)?);
    let own = rustix::process::getpid();
    until("it to be compiled", async || Ok(!compilers(own)?.is_empty())).await?;
    // As an allocator does that finds its heap destroyed. A fault would not do: wasmtime's handler
    // lets whatever was at fault try again, and nothing was.
    for pid in compilers(own)? {
        kill_process(pid, Signal::ABORT)?;
    }
    let error = within("its end", slow).await?.expect_err("its compiler died");
    let text = error.to_string();
    assert!(matches!(error.cause(), Cause::Rejected { .. }), "{text}");
    assert!(text.contains("the process that compiled it died: signal: 6 (SIGABRT)"), "{text}");
    none_left().await?;
    stage.end_after_anything().await
}

#[tokio::test]
async fn f36_a_compiler_is_held_to_its_bounds_and_ends_with_its_slave() -> Result<()> {
    let home = tempfile::tempdir()?;
    let mut command = Command::new(PROGRAM);
    let cache = home.path().join("cache");
    command.args(["s1", "1"]).env("DPFW_TEST_CONFINED", "always");
    let mut slave = Process::with_cache(&mut command, &cache).await?;
    let master = fleet::master(&[&slave.address]).await?;
    let _slow = master.dispatch(call(heavy(100, 5_000, 1)?)?);
    let is_held = |pid: &Pid| of_process(*pid, "status").contains("NoNewPrivs:\t1");
    let held = async || anyhow::Ok(compilers(slave.pid())?.first().copied().filter(is_held));
    until("it to be compiled", async || Ok(held().await?.is_some())).await?;
    let compiler = held().await?.context("it has ended")?;
    until("its limits", async || Ok(!soft(compiler, "Max cpu time").contains("unlimited"))).await?;
    for limit in ["Max core file size", "Max file size"] {
        assert_eq!(soft(compiler, limit), "0", "{limit}");
    }
    assert_eq!(soft(compiler, "Max open files"), "32");
    let number = |limit| soft(compiler, limit).parse::<u64>();
    assert!((1 << 30..4 << 30).contains(&number("Max data size")?));
    assert!(number("Max address space")? < 20 << 30);
    assert_eq!(of_process(compiler, "environ"), "");
    // Three pipes, and what the compiler opens for a moment: nothing of its slave's.
    let open = fs::read_dir(format!("/proc/{}/fd", compiler.as_raw_nonzero()))?;
    let links = open.filter_map(|fd| fs::read_link(fd.ok()?.path()).ok());
    let links: Vec<_> = links.map(|to| to.to_string_lossy().into_owned()).collect();
    assert!(
        !links.iter().any(|to| to.starts_with("socket:") || to.ends_with(".label")),
        "{links:?}"
    );
    slave.kill()?;
    let is_gone = |stat: String| stat.is_empty() || stat.contains(") Z ");
    until("the compiler to end", async || Ok(is_gone(of_process(compiler, "stat")))).await
}

/// A limit of a process, as it stands in `/proc`.
fn soft(pid: Pid, name: &str) -> String {
    let limits = of_process(pid, "limits");
    let line = limits.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("unlimited");
    line.split_whitespace().next().unwrap_or_default().to_owned()
}

/// The compiled code in a cache, by its name.
fn code(cache: &Path) -> Result<BTreeMap<String, blake3::Hash>> {
    let mut code = BTreeMap::new();
    for dir in fs::read_dir(cache)?.filter_map(Result::ok).filter(|dir| dir.path().is_dir()) {
        for file in fs::read_dir(dir.path())? {
            let path = file?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name.ends_with(".code") || name.ends_with(".snapshot") {
                code.insert(name, blake3::hash(&fs::read(path)?));
            }
        }
    }
    Ok(code)
}

#[tokio::test]
async fn what_is_compiled_confined_is_what_is_compiled_here() -> Result<()> {
    let (lines, home) = (Lines::capture(), tempfile::tempdir()?);
    let caches = ["here", "confined"].map(|name| home.path().join(name));
    let here = fleet::slave("s1", 1)?.cache(&caches[0]).confine_compiling(Confine::Never);
    for slave in [here, confined(&caches[1], |_| ())?] {
        let pair = Pair::start(slave).await?;
        assert_eq!(pair.master.dispatch(add::call(2, 3)).await?, 5);
        assert_eq!(pair.master.dispatch(call(heavy(2, 40, 1)?)?).await?, 1);
        let image = pair.master.init(words::call("confined here".into())).await?;
        assert_eq!(image.dispatch(word::call(0)).await?.as_deref(), Some("confined"));
    }
    for confined in ["confined=false", "confined=true"] {
        assert_eq!(lines.with(&["module loaded", "warmed=true", confined]).len(), 2, "{confined}");
    }
    let [here, confined] = [code(&caches[0])?, code(&caches[1])?];
    assert_eq!(here, confined);
    assert_eq!(here.len(), 4, "two modules, an image and its snapshot: {here:?}");
    Ok(())
}

/// A module that does nothing, and the hash of which this says.
fn of(text: &str) -> Result<Module> {
    module(&format!("(module {text} (func (export \"task\") (result i32) (i32.const 1)))"))
}

/// An address of this machine that is not loopback's, if it has one.
fn beyond() -> Result<Option<IpAddr>> {
    // Nothing is sent: the system only says from where it would be.
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    let ours = socket.connect("198.51.100.1:9").and_then(|()| socket.local_addr());
    Ok(ours.ok().map(|address| address.ip()).filter(|ip| !ip.is_loopback()))
}

#[tokio::test]
async fn compiling_is_confined_where_the_slave_dials_beyond_loopback() -> Result<()> {
    let Some(host) = beyond()? else {
        eprintln!("this machine has no other address: nothing is tried");
        return Ok(());
    };
    let (lines, home, place) = (Lines::capture(), tempfile::tempdir()?, Place::new()?);
    let request = Request { sans: vec![host.to_string()], ..Request::new(CertRole::Master, "m") };
    let security = place.security(place.authority.issue(&request)?.file)?;
    let master = Master::builder().security(security).listen("0.0.0.0:0").build_listening();
    let running = within("the port", master).await??;
    let port = running.listening[0].port();
    let slave = fleet::slave("s1", 1)?.cache(home.path().join("cache")).compiler(PROGRAM);
    let slave = slave.security(place.peer(CertRole::Slave, "slave-1")?).build()?;
    let (near, far) = (
        of("(func) (func (result i32) (i32.const 5))")?,
        of("(func) (func (result i32) (i32.const 6))")?,
    );
    // From this machine alone as yet.
    let (ours, theirs) = ByteStream::pair(1 << 16);
    slave.attach(theirs);
    let local = Master::builder().attach(ours).build().await?;
    assert_eq!(within("a task", local.dispatch(call(near.clone())?)).await??, 1);
    slave.dial(Dial::new(SocketAddr::new(host, port).to_string()));
    assert_eq!(within("a task", running.master.dispatch(call(far.clone())?)).await??, 1);
    for (module, confined) in [(near, "confined=false"), (far, "confined=true")] {
        lines.wait_for(&["module loaded", &module.to_string(), confined]).await?;
    }
    Ok(())
}

#[tokio::test]
async fn compiling_is_confined_where_a_stream_leads_out_of_the_process() -> Result<()> {
    let (lines, home) = (Lines::capture(), tempfile::tempdir()?);
    let slave =
        fleet::slave("s1", 1)?.cache(home.path().join("cache")).compiler(PROGRAM).build()?;
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    // For all that the slave knows.
    slave.attach(ByteStream::joined(theirs, "somewhere"));
    let master = Master::builder().attach(ByteStream::joined(ours, "somewhere")).build().await?;
    let module = of("(func) (func (result i32) (i32.const 7))")?;
    assert_eq!(within("a task", master.dispatch(call(module.clone())?)).await??, 1);
    lines.wait_for(&["module loaded", &module.to_string(), "confined=true"]).await?;
    Ok(())
}

#[tokio::test]
async fn compiling_is_confined_where_the_slave_is_reached_from_beyond_loopback() -> Result<()> {
    let lines = Lines::capture();
    let home = tempfile::tempdir()?;
    let slave = fleet::slave("s1", 1)?.cache(home.path().join("cache")).compiler(PROGRAM);
    let place = Place::new()?;
    let slave = slave.security(place.peer(CertRole::Slave, "slave-1")?);
    let (slave, address) = fleet::listening(slave).await?;
    let master = Master::builder().security(place.peer(CertRole::Master, "master-1")?);
    let master = within("the link", master.slave(address).build()).await??;
    let (before, after) = (of("(func)")?, of("(func) (func)")?);
    assert_eq!(master.dispatch(call(before.clone())?).await?, 1);
    slave.listen("0.0.0.0:0").await?;
    assert_eq!(master.dispatch(call(after.clone())?).await?, 1);
    for (module, confined) in [(before, "confined=false"), (after, "confined=true")] {
        lines.wait_for(&["module loaded", &module.to_string(), confined]).await?;
    }
    Ok(())
}

#[tokio::test]
async fn who_has_no_program_to_compile_with_is_told_before_anything_is_compiled() -> Result<()> {
    let lines = Lines::capture();
    let always = fleet::slave("s1", 1)?.confine_compiling(Confine::Always).build();
    let error = always.err().context("there is no program")?;
    assert!(matches!(error, StartError::NoCompiler), "{error}");
    assert!(error.to_string().contains("call compile_child() first in main"), "{error}");
    let home = tempfile::tempdir()?;
    let slave = fleet::slave("s2", 1)?.cache(home.path().join("cache"));
    let slave = slave.security(Security::insecure()).build()?;
    slave.listen("0.0.0.0:0").await?;
    lines.wait_for(&["there is no program for it", "Confine::Never"]).await?;
    Ok(())
}
