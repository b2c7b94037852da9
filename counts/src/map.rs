//! An item of a map, on its way into a chunk and out of one, at the master.
//!
//! Owns: chunks of one size. Does not: send them; what that costs is shared by all their items.

use crate::Ready;
use anyhow::{Result, ensure};
use dpfw_bench_tasks::fresh_add;
use dpfw_protocol::payload;
use dpfw_protocol::{Bytes, batch};
use std::hint::black_box;

/// Items of a chunk: what short tasks get.
const ITEMS: u64 = 1_000;

/// What becomes of an item's call when its chunk is put together.
pub(crate) fn item_out() -> Result<Ready> {
    Ok(Ready::new(ITEMS, || {
        let mut chunk = Vec::new();
        for item in 0..ITEMS as i64 {
            let (_, args) = fresh_add::call(black_box(item), 1).into_parts();
            let args = args.map_err(anyhow::Error::msg)?;
            batch::push_call(&mut chunk, &args);
        }
        ensure!(batch::calls(black_box(&chunk)).next().is_some(), "the chunk is empty");
        Ok(())
    }))
}

/// What becomes of a chunk's result when it is taken apart.
pub(crate) fn item_back() -> Result<Ready> {
    let mut chunk = Vec::new();
    (0..ITEMS).for_each(|_| batch::push_result(&mut chunk, |out| out.extend([0x92, 1, 10])));
    let chunk = Bytes::from(chunk);
    Ok(Ready::new(ITEMS, move || {
        let mut sum = 0;
        for outcome in batch::outcomes(black_box(&chunk)) {
            let (_, item) = payload::decode_part::<(u32, i64)>(&chunk, outcome??)?;
            sum += item;
        }
        ensure!(sum == 10 * ITEMS as i64, "{sum} is not the sum");
        Ok(())
    }))
}
