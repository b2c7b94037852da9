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

use anyhow::{Context, Result, ensure};
use dpfw::{CallExt, Image, ImageAt, Master, Transfer};
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
    /// From the init's call until the first slave had the image: the documents were sent, too.
    pub until_built: Duration,
    /// Where the image is, in the order in which it came there: built on the first two slaves, sent
    /// to others.
    pub places: Vec<ImageAt>,
    /// Putting the documents and the index into the stores of all slaves, for comparison.
    pub put: Duration,
    /// A plain function in this process, on one core.
    pub plain: Way,
    /// The image, the index rebuilt, the index read.
    pub ways: [Way; 3],
    /// Some queries with their best hits.
    pub samples: Vec<(String, Option<Hit>)>,
}

/// Slaves that build the image; the others are sent it.
const BUILDERS: usize = 2;

/// Queries that are shown.
const SAMPLES: usize = 5;

/// Builds the index on two slaves, has it sent to others, and asks.
///
/// # Errors
/// The first task that failed, or whose answer is not that of a plain function.
pub async fn run(master: &Master, documents: &[Document], plan: Plan) -> Result<Figures> {
    let queries = queries(documents, plan.queries);
    let (until_built, places, image) = have_it_everywhere(master, documents).await?;

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
    Ok(Figures { words, postings, until_built, places, put, plain, ways, samples })
}

/// Has two slaves build the image, and the others sent it.
async fn have_it_everywhere(
    master: &Master,
    documents: &[Document],
) -> Result<(Duration, Vec<ImageAt>, Image)> {
    let init = || build_index::call(documents.to_vec());
    let begun = Instant::now();
    let built = master.init(init()).transfer(Transfer::Never).await;
    let mut image = built.context("of fewer files an index may be built (--most-bytes)")?;
    let until_built = begun.elapsed();
    let mut places = image.places().await;
    for slave in master.slaves() {
        if places.iter().any(|place| place.slave == *slave.name()) {
            continue;
        }
        if places.len() == BUILDERS {
            // It is the same image, however it is had from now on.
            image = master.init(init()).transfer(Transfer::Always).await?;
        }
        image.dispatch(search::call(String::new(), 0).on(&slave)).await?;
        let now = image.places().await;
        places.extend(now.into_iter().filter(|place| place.slave == *slave.name()));
    }
    ensure!(places.iter().all(|place| place.hash == places[0].hash), "the images differ");
    Ok((until_built, places, image))
}
