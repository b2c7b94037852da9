//! Search in source files with dpfw: an index that is initialised once and is there for every
//! query, beside one that every query builds, or reads from the keyed store.
//!
//! Owns: what is measured, in which order. Does not: search; the tasks do. Invariants: every
//! answer is compared with that of a plain function; a rate is of queries that were run.

#![forbid(unsafe_code)]

mod corpus;
mod queries;
mod ways;

pub use corpus::Corpus;
pub use queries::queries;
pub use ways::Way;

use anyhow::{Context, Result};
use dpfw::{CallExt, Image, ImageAt, ImageUse, Master, Transfer};
use search_tasks::{DOCUMENTS, Document, Hit, INDEX, Index, build_index, search};
use std::time::{Duration, Instant};

/// Hits that a query asks for.
pub const MOST: u32 = 10;

/// What is to be asked.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Queries of the image.
    pub queries: usize,
    /// Queries for which the index is built in their task.
    pub rebuilt: usize,
    /// Queries for which it is read in their task.
    pub read: usize,
}

/// What was measured.
#[derive(Debug)]
pub struct Figures {
    /// Different words in the index.
    pub words: usize,
    /// Its entries: words of a document.
    pub postings: usize,
    /// The image where it was built, its arguments having been sent.
    pub built: ImageAt,
    /// From the init's call until the image was ready: the documents were sent, too.
    pub until_built: Duration,
    /// How the image came to the second slave, if there is one.
    pub second: Option<ImageUse>,
    /// Putting the documents and the index into the stores of all slaves, for comparison.
    pub put: Duration,
    /// A plain function in this process, on one core.
    pub plain: Way,
    /// The image, the index rebuilt, the index read.
    pub ways: [Way; 3],
    /// Some queries with their best hits.
    pub samples: Vec<(String, Option<Hit>)>,
}

/// Queries that are shown.
const SAMPLES: usize = 5;

/// Builds the index on a slave, has it sent to another, and asks.
///
/// # Errors
/// The first task that failed, or whose answer is not that of a plain function.
pub async fn run(master: &Master, documents: &[Document], plan: Plan) -> Result<Figures> {
    let queries = queries(documents, plan.queries);
    let begun = Instant::now();
    let init = build_index::call(documents.to_vec());
    let image = master.init(init).transfer(Transfer::Always).await?;
    let until_built = begun.elapsed();
    let built = image.places().await.pop().context("no slave has the image")?;
    let second = on_another(master, &image, &built).await?;

    // The same by a plain function, and what the other ways read.
    let index = Index::of(documents.to_vec());
    let begun = Instant::now();
    for slave in master.slaves() {
        slave.store().put(DOCUMENTS, &documents).await?;
        slave.store().put(INDEX, &index).await?;
    }
    let put = begun.elapsed();
    let (plain, expected) = ways::plain(&index, &queries);
    let some = |number: usize| &queries[..queries.len().min(number)];
    let ways = [
        ways::with_image(&image, &queries, &expected).await?,
        ways::rebuilt(master, some(plan.rebuilt), &expected).await?,
        ways::read(master, some(plan.read), &expected).await?,
    ];
    let samples = queries.into_iter().zip(expected.into_iter().map(|hits| hits.into_iter().next()));
    let samples = samples.take(SAMPLES).collect();
    let (words, postings) = (index.words(), index.postings());
    Ok(Figures { words, postings, built, until_built, second, put, plain, ways, samples })
}

/// Runs a query where the image is not yet; how it came there.
async fn on_another(master: &Master, image: &Image, built: &ImageAt) -> Result<Option<ImageUse>> {
    let other = master.slaves().into_iter().find(|slave| *slave.name() != built.slave);
    let Some(other) = other else {
        return Ok(None);
    };
    let mut first = image.dispatch(search::call(String::new(), 0).on(&other));
    (&mut first).await?;
    let receipt = first.receipt().context("a task that has run has a receipt")?;
    Ok(receipt.image)
}
