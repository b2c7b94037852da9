//! The three ways to search, each at the speed that it allows.
//!
//! Owns: what is under way. Does not: know where the index is. Invariants: every query is a task
//! of its own, in a sandbox of its own; so many are under way that no slave waits.

use crate::MOST;
use anyhow::{Context, Result, ensure};
use dpfw::{Image, Master, TaskHandle};
use examples_kit::{Bar, Unit};
use search_tasks::{Hit, Index, search, search_read, search_rebuilt};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Tasks under way: more than both slaves queue.
const UNDER_WAY: usize = 512;

/// What one way to search has reached.
#[derive(Clone, Copy, Debug)]
pub struct Way {
    /// Queries that were run.
    pub queries: usize,
    /// What they took together.
    pub took: Duration,
}

impl Way {
    /// Queries a second, of those that were run.
    pub fn rate(&self) -> f64 {
        self.queries as f64 / self.took.as_secs_f64().max(1e-9)
    }
}

/// The same by a plain function, in this process and on one core; and what it finds.
pub(crate) fn plain(index: &Index, queries: &[String]) -> (Way, Vec<Vec<Hit>>) {
    let begun = Instant::now();
    let found = queries.iter().map(|query| index.search(query, MOST as usize)).collect();
    (Way { queries: queries.len(), took: begun.elapsed() }, found)
}

pub(crate) async fn with_image(
    image: &Image,
    queries: &[String],
    expected: &[Vec<Hit>],
) -> Result<Way> {
    let dispatch = |query: &String| image.dispatch(search::call(query.clone(), MOST));
    ask("with the image", queries, dispatch, expected).await
}

pub(crate) async fn rebuilt(
    master: &Master,
    queries: &[String],
    expected: &[Vec<Hit>],
) -> Result<Way> {
    let dispatch = |query: &String| master.dispatch(search_rebuilt::call(query.clone(), MOST));
    ask("rebuilt in every task", queries, dispatch, expected).await
}

pub(crate) async fn read(
    master: &Master,
    queries: &[String],
    expected: &[Vec<Hit>],
) -> Result<Way> {
    let dispatch = |query: &String| master.dispatch(search_read::call(query.clone(), MOST));
    ask("read in every task", queries, dispatch, expected).await
}

async fn ask(
    what: &'static str,
    queries: &[String],
    dispatch: impl Fn(&String) -> TaskHandle<Vec<Hit>>,
    expected: &[Vec<Hit>],
) -> Result<Way> {
    let bar = Bar::new(queries.len() as u64, Unit::Items).of(what);
    // What is done once in a slot is done before.
    if let Some(first) = queries.first() {
        dispatch(first).await.with_context(|| format!("{what}: {first}"))?;
    }
    let mut answers = Vec::with_capacity(queries.len());
    let mut waiting = queries.iter();
    let begun = Instant::now();
    let mut under_way: VecDeque<_> = waiting.by_ref().take(UNDER_WAY).map(&dispatch).collect();
    while let Some(next) = under_way.pop_front() {
        answers.push(next.await.with_context(|| what)?);
        under_way.extend(waiting.next().map(&dispatch));
        bar.advance(1);
    }
    let took = begun.elapsed();
    bar.finish();
    for ((query, hits), expected) in queries.iter().zip(&answers).zip(expected) {
        ensure!(hits == expected, "{what}: other hits of {query:?} than a plain function's");
    }
    Ok(Way { queries: queries.len(), took })
}
