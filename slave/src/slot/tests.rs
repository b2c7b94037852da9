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
        let (mut job, started) = (self.job(module, task)?, Instant::now());
        self.slot.enter(Entering::Job(&job), started);
        let outcome = self.slot.contained(&mut job, started, &mut Timing::default());
        self.slot.watch.leave();
        Ok(outcome)
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
        Ok(Arc::new(Loaded::new(0, artifact)))
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
