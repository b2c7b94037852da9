//! Guests of a few lines, and what the host does for them.

use super::host::{Allowance, Holder, Host, Lent};
use super::imports;
use crate::core::Core;
use crate::engine::{Engines, Scan};
use crate::limits::Limits;
use crate::session::Session;
use dpfw_link::{Outbox, identity};
use dpfw_protocol::error::{Cause, Limit};
use dpfw_protocol::ids::AttemptId;
use std::sync::Arc;
use std::time::{Duration, Instant};
use wasmtime::{Engine, Instance, Linker, Module, Result, Store, Trap};

/// The state of a sandbox that nobody hears.
pub(super) fn host(limits: Limits) -> Result<Host> {
    let core = Arc::new(Core::new(limits, Engines::new(limits, Scan::default()), 1)?);
    let lent = Arc::new(Lent { core, holder: Holder::Slot(Arc::default()) });
    let session = Arc::new(Session::detached(identity("test").peer, Outbox::nowhere()));
    Ok(Host::new(&lent, &session, AttemptId(1), Allowance::of(&limits.granted(None))))
}

/// A guest with a function `run` that gives an `i32`.
pub(super) struct Guest {
    store: Store<Host>,
    instance: Instance,
}

impl Guest {
    pub(super) fn new(text: &str, limits: Limits) -> Result<Self> {
        let engine = Engine::default();
        let mut linker = Linker::new(&engine);
        imports::link(&mut linker)?;
        let module = Module::new(&engine, wat::parse_str(format!("(module {text})"))?)?;
        let mut store = Store::new(&engine, host(limits)?);
        let instance = linker.instantiate(&mut store, &module)?;
        Ok(Self { store, instance })
    }

    pub(super) fn run(&mut self) -> Result<u32> {
        let run = self.instance.get_typed_func::<(), u32>(&mut self.store, "run")?;
        run.call(&mut self.store, ())
    }

    pub(super) fn host(&self) -> &Host {
        self.store.data()
    }

    /// What it finds after it has asked the keyed store.
    pub(super) fn reply(&self) -> String {
        String::from_utf8_lossy(&self.host().reply.bytes).into_owned()
    }

    /// Its attempt is cancelled. No epoch is raised on its own engine: it has to be the host
    /// that stops.
    fn cancel(&self) {
        let host = self.host();
        let Holder::Slot(watch) = &host.lent.holder else { panic!("it has a slot") };
        let engine = Engine::default();
        watch.enter(&host.session, host.attempt, &engine, Instant::now(), None, Duration::MAX);
        assert!(watch.cancel(&host.session, host.attempt));
    }

    fn memory(&mut self) -> &[u8] {
        let memory = self.instance.get_memory(&mut self.store, "memory");
        memory.map_or(&[], |memory| memory.data(&self.store))
    }

    /// It runs, and is interrupted by the host.
    fn is_interrupted(&mut self) -> bool {
        let error = self.run().err();
        error.and_then(|e| e.downcast_ref::<Trap>().copied()) == Some(Trap::Interrupt)
    }
}

const RANDOM: &str = r#"
    (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
    (memory (export "memory") 16)
    (func (export "run") (result i32) (call $random (i32.const 0) (i32.const 1048576)))"#;

#[test]
fn f39_randomness_is_given_whole_unless_the_guest_has_to_stop() -> Result<()> {
    let mut guest = Guest::new(RANDOM, Limits::default())?;
    assert_eq!(guest.run()?, 0);
    assert!(guest.memory().chunks(1 << 16).all(|page| page.iter().any(|byte| *byte != 0)));
    let mut guest = Guest::new(RANDOM, Limits::default())?;
    guest.cancel();
    assert!(guest.is_interrupted());
    assert!(guest.memory().iter().all(|byte| *byte == 0), "it was given some all the same");
    Ok(())
}

/// Writes a MiB of zeros to stdout. The number of bytes written is given at 8.
const WRITE: &str = r#"
    (import "wasi_snapshot_preview1" "fd_write"
      (func $write (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 17)
    (data (i32.const 0) "\00\00\01\00\00\00\10\00")
    (func (export "run") (result i32)
      (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))"#;

#[test]
fn f39_writing_ends_where_the_guest_has_to_stop() -> Result<()> {
    let mut guest = Guest::new(WRITE, Limits::default())?;
    guest.cancel();
    assert!(guest.is_interrupted());
    Ok(())
}

#[test]
fn what_is_beyond_the_limit_on_log_bytes_counts_as_written_and_is_not_looked_at() -> Result<()> {
    let mut guest = Guest::new(WRITE, Limits { log: 0, ..Limits::default() })?;
    // Where it looked at the bytes it would find that it has to stop.
    guest.cancel();
    assert_eq!(guest.run()?, 0);
    assert_eq!(guest.memory()[8..12], [0, 0, 0x10, 0]);
    Ok(())
}

const STORE: &str = r#"
    (import "dpfw_1" "store_put" (func $put (param i32 i32 i32 i32) (result i32)))
    (import "dpfw_1" "store_get" (func $get (param i32 i32) (result i32)))
    (import "dpfw_1" "reply_take" (func $take (param i32)))
    (memory (export "memory") 2) (data (i32.const 0) "k")"#;

/// Puts 100 KiB under the key `k`, and does what else it is to do.
fn put(then: &str, limits: Limits) -> Result<Guest> {
    let call = "(call $put (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 102400))";
    Guest::new(&format!("{STORE} (func (export \"run\") (result i32) {call} {then})"), limits)
}

#[test]
fn f39_a_value_is_not_copied_for_a_guest_that_has_to_stop() -> Result<()> {
    let mut guest = put("", Limits::default())?;
    assert_eq!(guest.run()?, 1);
    guest.cancel();
    assert!(guest.is_interrupted());
    Ok(())
}

#[test]
fn a_value_is_taken_whole_and_in_pieces() -> Result<()> {
    let taken = "(drop (call $get (i32.const 0) (i32.const 1)))
                 (memory.fill (i32.const 0) (i32.const 1) (i32.const 102401))
                 (call $take (i32.const 0))";
    let mut guest = put(taken, Limits::default())?;
    assert_eq!(guest.run()?, 1);
    let memory = guest.memory();
    assert_eq!(memory[0], b'k');
    assert!(memory[1..102_400].iter().all(|byte| *byte == 0));
    assert_eq!(memory[102_400], 1);
    Ok(())
}

#[test]
fn a_value_beyond_the_quota_is_refused_before_it_is_copied() -> Result<()> {
    let mut guest = put("", Limits { store_bytes: 102_399, ..Limits::default() })?;
    // A copy would find that it has to stop.
    guest.cancel();
    assert_eq!(guest.run()?, 2);
    assert_eq!(guest.reply(), "the limit on quota was exceeded (allowed: 102399 bytes)");
    Ok(())
}

/// Calls a function of the store's with constants.
fn asks(name: &str, args: &[u32]) -> Result<Guest> {
    let params = "i32 ".repeat(args.len());
    let args: Vec<_> = args.iter().map(|arg| format!("(i32.const {arg})")).collect();
    let text = format!(
        r#"(import "dpfw_1" "{name}" (func $ask (param {params}) (result i32)))
           (memory (export "memory") 16)
           (func (export "run") (result i32) (call $ask {}))"#,
        args.concat()
    );
    Guest::new(&text, Limits::default())
}

#[test]
fn a_key_or_prefix_that_is_too_long_is_refused() -> Result<()> {
    for (name, args) in [
        ("store_get", &[0, 1025][..]),
        ("store_put", &[0, 1025, 0, 0]),
        ("store_list", &[0, 1 << 20, 0, 0, 9]),
        ("store_list", &[0, 0, 0, 1 << 20, 9]),
    ] {
        let mut guest = asks(name, args)?;
        assert_eq!(guest.run()?, 2, "{name} {args:?}");
        assert_eq!(guest.reply(), "the limit on key was exceeded (allowed: 1 to 1024 bytes)");
    }
    assert_eq!(asks("store_list", &[0, 1024, 0, 0, 9])?.run()?, 0);
    Ok(())
}

/// Calls everything that guests may import, with zeros.
fn call_everything(limits: Limits) -> Result<Vec<(String, Result<(), String>)>> {
    let engine = Engine::default();
    let mut linker = Linker::new(&engine);
    imports::link(&mut linker)?;
    let mut store = Store::new(&engine, host(limits)?);
    let all: Vec<_> = linker.iter(&mut store).map(|(m, n, e)| (format!("{m}.{n}"), e)).collect();
    let mut called = Vec::new();
    for (name, function) in all {
        let function = function.into_func().expect("nothing else is linked");
        let ty = function.ty(&store);
        let zero = |ty| wasmtime::Val::default_for_ty(&ty).expect("a number");
        let args: Vec<_> = ty.params().map(zero).collect();
        let mut results: Vec<_> = ty.results().map(zero).collect();
        let outcome = function.call(&mut store, &args, &mut results);
        called.push((name, outcome.map_err(|e| e.root_cause().to_string())));
    }
    Ok(called)
}

#[test]
fn f33_every_function_that_a_guest_may_import_is_charged() -> Result<()> {
    let none = Limits { host_calls: 0, ..Limits::default() };
    let called = call_everything(none)?;
    assert_eq!(called.len(), imports::ABI_NAMES.len() + super::wasi::NAMES.len());
    for (name, outcome) in called {
        assert_eq!(outcome, Err("too many host calls".into()), "{name} costs nothing");
    }
    Ok(())
}

#[test]
fn f33_what_is_left_of_the_host_calls_goes_to_the_next_sandbox() -> Result<()> {
    let mut first = host(Limits { host_calls: 3, ..Limits::default() })?;
    first.charge()?;
    let left = first.finish();
    let mut next = Host::new(&first.lent, &first.session, first.attempt, left);
    next.charge()?;
    next.charge()?;
    assert!(next.refused().is_none() && next.charge().is_err());
    let limit = Limit::HostCalls;
    assert_eq!(next.refused(), Some(Cause::Limit { limit, allowed: 3 }));
    // One that comes later has none left, but did not run into the limit itself.
    let left = next.finish();
    let mut last = Host::new(&first.lent, &first.session, first.attempt, left);
    assert!(last.refused().is_none() && last.charge().is_err());
    Ok(())
}
