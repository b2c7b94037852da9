//! Hostile guests, a file each, and guests at random.

use super::stage::{Stage, unharmed};
use anyhow::{Context, Result};
use arbitrary::Unstructured;
use dpfw::{CallExt, Cause, Facts, Limits, Module, Program, Task, TaskLimits};
use dpfw_tests::fleet::slave;
use dpfw_tests::hostile::{self, Hostile};
use dpfw_tests::wait::within;
use serde::de::IgnoredAny;
use std::collections::BTreeMap;
use std::future::IntoFuture;
use std::time::Duration;
use wasm_smith::Config;

/// What the slave allows that meets them.
fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.warm = Duration::from_millis(300);
    // What they store is to be refused soon.
    (limits.store_bytes, limits.store_entries) = (1 << 20, 1000);
    limits
}

#[tokio::test]
async fn every_hostile_guest_ends_as_its_file_says_and_disturbs_nobody() -> Result<()> {
    let stage = Stage::of(slave("s1", 2)?.limits(limits())).await?;
    let (mut failed, mut wrong) = (0, Vec::new());
    for guest in hostile::all()? {
        let Hostile { name, module, is_program, expected, limits } = guest;
        let outcome = if is_program {
            let run = stage.master().run(Program::of(module).limits(limits));
            within(&name, run.into_future()).await?
        } else {
            let call = Task::<IgnoredAny>::new(module, "task").call(&())?.limits(limits);
            within(&name, stage.master().dispatch(call)).await?.map(drop)
        };
        let cause = outcome.as_ref().map(drop).map_err(dpfw::TaskError::cause);
        let is_own = matches!(cause, Err(Cause::BadResult { .. }));
        failed += u64::from(cause.is_err() && !is_own);
        if !expected.is(cause) {
            wrong.push(format!("{name}: {expected:?} was expected, not {cause:?}"));
        }
        unharmed(stage.master()).await?;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    stage.end_with(failed).await
}

/// Modules at random, and how many of each.
const SHAPES: [fn(&mut Config); 5] = [
    // As they come.
    |_| {},
    // With everything that this engine does not have switched off: most of these run.
    plain,
    // Without traps: what goes wrong in these is that they do not end.
    |config| {
        plain(config);
        config.disallow_traps = true;
        config.max_instructions = 1000;
    },
    // With much of everything.
    |config| {
        plain(config);
        (config.max_memories, config.max_tables, config.max_globals) = (10, 10, 1000);
        (config.max_funcs, config.max_instructions) = (200, 5000);
        (config.min_data_segments, config.min_element_segments) = (50, 50);
    },
    // With imports, which nobody grants.
    |config| {
        plain(config);
        config.min_imports = 1;
        config.max_imports = 100;
    },
];

const OF_EACH: u64 = 80;

/// What the slave's engines have, and without a start of their own.
fn plain(config: &mut Config) {
    config.max_imports = 0;
    (config.min_types, config.min_funcs) = (3, 3);
    config.export_everything = true;
    config.allow_start_export = false;
    config.memory64_enabled = false;
    config.threads_enabled = false;
    config.exceptions_enabled = false;
    // References to the host are of the same kind.
    config.gc_enabled = false;
    config.reference_types_enabled = false;
    config.relaxed_simd_enabled = false;
    // Some megabytes: what more there is, is met by the limit.
    config.max_memory32_bytes = 64 << 20;
    config.max_table_elements = 10_000;
}

/// The module of a seed: the same one in each run.
fn random(seed: u64, shape: fn(&mut Config)) -> Result<Module> {
    let mut bytes = vec![0; 20_000];
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    let mut config = Config::default();
    shape(&mut config);
    let module = wasm_smith::Module::new(config, &mut Unstructured::new(&bytes))?;
    Ok(Module::new(module.to_bytes()))
}

/// Calls the function with as many zeros as it takes.
async fn call_with_zeros(stage: &Stage, function: &Task<IgnoredAny>) -> Result<Option<Cause>> {
    let soon = TaskLimits::new().time(Duration::from_millis(50)).memory(128 << 20);
    for zeros in 0..=20 {
        let call = function.call(&vec![0; zeros])?.limits(soon);
        let outcome = within("a module at random", stage.master().dispatch(call)).await?;
        match outcome.map_err(|error| error.cause().clone()) {
            Err(Cause::BadArguments { .. }) => {}
            outcome => return Ok(outcome.err()),
        }
    }
    Ok(None)
}

#[tokio::test]
async fn modules_at_random_do_not_keep_a_slave_from_serving() -> Result<()> {
    let limits = limits();
    let builder = slave("s1", 2)?.limits(limits).no_cache();
    let stage = Stage::of(builder).await?;
    let linked = stage.pair.linked()?;
    unharmed(stage.master()).await?;
    let before = linked.describe().await?;
    let mut seen = BTreeMap::<_, u32>::new();
    for (number, shape) in SHAPES.into_iter().enumerate() {
        for seed in 0..OF_EACH {
            let module = random(seed, shape).with_context(|| format!("{seed} of {number}"))?;
            let bytes = module.bytes().context("it was just made")?;
            let names = Facts::of(bytes, &limits).map_or(Vec::new(), |facts| facts.functions);
            let name = names.first().map_or("task", String::as_str);
            let function = Task::new(module.clone(), name);
            let cause = call_with_zeros(&stage, &function).await?;
            let is_ours = matches!(cause, Some(Cause::Internal { .. } | Cause::Busy { .. }));
            assert!(!is_ours, "{name} of seed {seed} of shape {number}: {cause:?}");
            *seen.entry(cause.map_or(0, |cause| cause.code())).or_default() += 1;
            unharmed(stage.master()).await?;
        }
    }
    eprintln!("codes of causes, and how often: {seen:?}");
    assert!(seen.len() > 3 && seen.contains_key(&0), "they are all alike: {seen:?}");
    let after = linked.describe().await?;
    let of = |it: &dpfw::Description| (it.running, it.waiting, it.queued, it.sandboxes);
    assert_eq!((of(&after), after.store_entries), (of(&before), before.store_entries));
    let grown = after.memory_bytes.saturating_sub(before.memory_bytes);
    assert!(grown < 512 << 20, "the slave has grown by {grown} bytes");
    stage.end_after_anything().await
}
