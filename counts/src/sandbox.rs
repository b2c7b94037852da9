//! A task in a fresh sandbox, and a call of a resident, on the thread that runs them in a slot.
//!
//! Owns: nothing but the arguments. Does not: count what the kernel does for a sandbox.

use crate::Ready;
use anyhow::{Context, Result, ensure};
use dpfw_bench_tasks::{Tally, fresh_add};
use dpfw_protocol::resident::Class;
use dpfw_slave::{Limits, Local};
use std::hint::black_box;

/// The sandbox begins anew, takes its arguments, runs, gives its result, and is put back.
pub(crate) fn fresh() -> Result<Ready> {
    let module = fresh_add::task().module().bytes().context("no module")?.clone();
    let mut local = Local::new(&module, Limits::default())?;
    let add = local.task("fresh_add")?;
    Ok(Ready::new(1, move || {
        let result = local.call(&add, black_box(&[0x92, 7, 3]))?;
        ensure!(result == [0x92, 1, 10], "{result:?}");
        Ok(())
    }))
}

/// The same for a method, which needs no sandbox of its own.
pub(crate) fn resident() -> Result<Ready> {
    let module = Tally::module().bytes().context("no module")?.clone();
    let mut tally = Local::new(&module, Limits::default())?.resident("tally.new", &[0x90])?;
    let add = tally.method("tally.add")?;
    Ok(Ready::new(1, move || {
        // Nothing is added, so that the result is as long at the end as at the beginning.
        let sum = tally.call(add, black_box(&[0x91, 0]))?;
        ensure!(sum == [0], "{sum:?}");
        Ok(())
    }))
}
