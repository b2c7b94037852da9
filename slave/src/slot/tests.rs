//! A slot, without a link and without its thread.

use super::*;
use crate::engine::{Engines, Scan};
use crate::job::Bound;
use crate::limits::Limits;
use crate::module::cache::Cache;
use crate::module::code::CodeId;
use crate::module::confine::Place;
use crate::module::load::Loaded;
use crate::module::loader::build;
use crate::shares::Supply;
use dpfw_link::{Outbox, identity};
use dpfw_protocol::Bytes;
use dpfw_protocol::ids::{AttemptId, BindId, ModuleHash};
use dpfw_protocol::message::Bind;

type Outcome<T> = std::result::Result<T, Box<dyn std::error::Error>>;

struct Alone {
    slot: Slot,
    session: Arc<Session>,
    cache: Cache,
    attempts: u64,
}

impl Alone {
    fn new() -> Outcome<Self> {
        let limits = Limits::default();
        let core = Arc::new(Core::new(limits, Engines::new(limits, Scan::default()), 1)?);
        let slot = Slot::new(&core, &Arc::default())?;
        let session = Arc::new(Session::detached(identity("test").peer, Outbox::nowhere()));
        Ok(Self { slot, session, cache: Cache::temporary()?, attempts: 0 })
    }

    /// An attempt at a task of a module.
    fn job(&mut self, module: &Arc<Loaded>, task: &str) -> Outcome<Job> {
        self.attempts += 1;
        let hash = ModuleHash::of(b"");
        let bind = Bind { bind: BindId(0), module: hash, task: task.into(), expects: None };
        let bound = Bound::new(bind);
        bound.find(Arc::clone(module), None).as_ref().map_err(Clone::clone)?;
        let (attempt, arrived) = (AttemptId(self.attempts), Instant::now());
        let held = self.session.hold(&Supply::new(u64::MAX)).ok_or("too many")?;
        Ok(Job {
            session: Arc::clone(&self.session),
            _held: held,
            attempt,
            bound: Arc::new(bound),
            args: Bytes::from_static(&[0x90]).into(),
            flags: TaskFlags::default(),
            limits: None,
            spawn: None,
            keys: None,
            refused: None,
            arrived,
            deadline: None,
        })
    }

    /// Has a task of a module run, as the slot's thread does.
    fn run(&mut self, module: &Arc<Loaded>, task: &str) -> Outcome<Result<Spent, Cause>> {
        let job = self.job(module, task)?;
        Ok(self.run_job(job))
    }

    fn run_job(&mut self, mut job: Job) -> Result<Spent, Cause> {
        let started = Instant::now();
        self.slot.enter(Entering::Job(&job), started);
        let outcome = self.slot.contained(&mut job, started, &mut Timing::default());
        self.slot.watch.leave();
        outcome
    }

    fn load(&self, text: &str) -> Outcome<Arc<Loaded>> {
        let core = &self.slot.core;
        let wasm = wat::parse_str(text)?;
        let hash = ModuleHash::of(&wasm);
        let artifact = build(
            &core.engines,
            &core.limits,
            &self.cache,
            Place::Here,
            CodeId::Module(hash),
            &wasm,
        )?;
        Ok(Arc::new(Loaded::new(0, CodeId::Module(hash), artifact)))
    }
}

/// One task that calls the host, and one that does not.
const MODULE: &str = r#"(module
    (import "dpfw_1" "progress" (func $progress (param i64 i64)))
    (memory (export "memory") 1)
    (data (i32.const 16) "\00\c0")
    (func (export "dpfw_alloc") (param i32) (result i32) (i32.const 1024))
    (func (export "dpfw:good") (param i32 i32) (result i64) (i64.const 0x1000000002))
    (func (export "dpfw:bad") (param i32 i32) (result i64)
      (call $progress (i64.const 1) (i64.const 2))
      (i64.const 0x1000000002)))"#;

#[test]
fn f21_a_panic_in_the_slaves_own_code_is_that_tasks_error_and_the_slot_goes_on() -> Outcome<()> {
    let mut alone = Alone::new()?;
    // A fault of the host, in the middle of a guest.
    let linker = alone.slot.engines.linker();
    linker.allow_shadowing(true);
    linker
        .func_wrap("dpfw_1", "progress", |_: u64, _: u64| -> () { panic!("a wheel came off") })?;
    let module = alone.load(MODULE)?;
    for _ in 0..3 {
        let cause = alone.run(&module, "bad")?.map(drop).expect_err("the host panics");
        assert_eq!(cause, Cause::Internal { message: "a wheel came off".into() });
        alone.run(&module, "good")?.map_err(|cause| format!("the next one failed: {cause}"))?;
    }
    Ok(())
}

/// Grows by 5 MiB for arguments, which it wants 8 bytes behind the beginning of a page, and writes
/// something at the end of that; a task that looks whether it is there; one that grows by as much
/// and fills it.
const MARKING: &str = r#"(module
    (memory (export "memory") 1)
    (data (i32.const 16) "\00\c0")
    (func $end (result i32) (i32.sub (i32.mul (memory.size) (i32.const 65536)) (i32.const 4)))
    (func (export "dpfw_alloc") (param $len i32) (result i32)
      (local $at i32)
      (if (i32.lt_u (local.get $len) (i32.const 65536)) (then (return (i32.const 1024))))
      (local.set $at (i32.mul (memory.grow (i32.const 80)) (i32.const 65536)))
      (i32.store (call $end) (i32.const 77))
      (i32.add (local.get $at) (i32.const 8)))
    (func (export "dpfw:look") (param i32 i32) (result i64)
      (if (i32.ne (i32.load (call $end)) (i32.const 77)) (then (unreachable)))
      (i64.const 0x1000000002))
    (func (export "dpfw:fill") (param i32 i32) (result i64)
      (memory.fill
        (i32.mul (memory.grow (i32.const 80)) (i32.const 65536))
        (i32.const 7)
        (i32.const 5242880))
      (i64.const 0x1000000002)))"#;

#[test]
fn what_a_guest_writes_beside_large_arguments_stays_there() -> Outcome<()> {
    let mut alone = Alone::new()?;
    let module = alone.load(MARKING)?;
    for _ in 0..3 {
        // What it has grown by is kept for whoever grows next.
        drop(alone.run(&module, "fill")?.map_err(|cause| format!("it cannot fill: {cause}"))?);
        let mut job = alone.job(&module, "look")?;
        let buffers = &alone.slot.core.buffers;
        let mut buffer = buffers.take(4 << 20)?;
        buffer.bytes().extend(std::iter::repeat_n(0x90, 4 << 20));
        job.args = buffers.finish(buffer);
        assert!(job.args.has_pages());
        drop(alone.run_job(job).map_err(|cause| format!("it is gone: {cause}"))?);
    }
    Ok(())
}

#[test]
fn what_is_to_be_written_waits_for_a_short_task_and_not_for_a_batch_of_them() -> Outcome<()> {
    let mut alone = Alone::new()?;
    let module = alone.load(MODULE)?;
    let mut job = alone.job(&module, "good")?;
    alone.slot.answers.add(&job.session, Instant::now(), true);
    alone.slot.before(&job);
    assert!(!alone.slot.answers.is_empty(), "it has cost nothing so far");
    job.flags = TaskFlags::BATCH;
    alone.slot.before(&job);
    assert!(alone.slot.answers.is_empty());
    Ok(())
}
