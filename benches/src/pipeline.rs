//! What crosses the link for two tasks, the second of which reads what the first made.

use crate::process::Process;
use crate::report::print;
use anyhow::{Result, ensure};
use dpfw::{CallExt, Master};
use dpfw_bench_tasks::{give, measure};
use dpfw_tests::proxy::Proxy;

/// The result of the first.
const BYTES: u64 = 256 << 20;

/// Counts what a proxy carries, behind the module, which crosses once.
pub(crate) async fn link_bytes(slave: &Process, rounds: usize) -> Result<()> {
    let proxy = Proxy::before(&slave.address)?;
    let master = Master::builder().slave(proxy.address()).build().await?;
    master.dispatch(give::call(1)).await?;
    let mut values = Vec::new();
    for _ in 0..rounds {
        let passed = || proxy.there().passed() + proxy.back().passed();
        let before = passed();
        let kept = master.dispatch(give::call(BYTES).keep("part")).await?;
        let len = master.dispatch(measure::call("part".into()).near(&kept)).await?;
        ensure!(len == BYTES, "{len} bytes were kept");
        values.push((passed() - before) as f64);
        kept.remove().await?;
    }
    print("pipeline_link_bytes", "B", &values, &[]);
    Ok(())
}
