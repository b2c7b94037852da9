//! The store on disk: what durable writes cost, and how soon it is there again.

use crate::process::Process;
use crate::report::print;
use anyhow::{Context, Result, anyhow, ensure};
use dpfw::{Master, Store};
use dpfw_bench_tasks::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use redb::{Database, TableDefinition};
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::Instant;
use tokio::sync::oneshot;

/// Who writes at once, each waiting for its answer before it writes again.
const WRITERS: usize = 4096;

/// Writes in a round.
const PUTS: usize = 100_000;

/// Bytes of a value.
const VALUE: usize = 100;

/// Entries that are there again.
const ENTRIES: usize = 1_000_000;

const TABLE: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("values");

/// Durable puts of many writers, beside the database alone with as many.
pub(crate) async fn puts(cache: &Path, rounds: usize) -> Result<()> {
    let (ours, directory) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let slave = Process::keeping(cache, &ours.path().join("store"))?;
    let master = Master::builder().slave(&slave.address).build().await?;
    let store = master.slaves().pop().context("no slave")?.store();
    let database = Arc::new(Database::create(directory.path().join("alone.redb"))?);
    let (mut rates, mut limits) = (vec![], vec![]);
    for round in 0..=rounds {
        let begun = Instant::now();
        alone(&database, round).await?;
        let bare = PUTS as f64 / begun.elapsed().as_secs_f64();
        let begun = Instant::now();
        write(&store, round, PUTS, true).await?;
        let rate = PUTS as f64 / begun.elapsed().as_secs_f64();
        if round > 0 {
            rates.push(rate);
            limits.push(bare);
        }
    }
    print("durable_puts_per_s", "1/s", &rates, &limits);
    Ok(())
}

fn key(round: usize, number: usize) -> String {
    format!("{round}/{number:07}")
}

/// The database alone, in this process: one thread commits what waits, all of it at once, and
/// answers each of as many writers.
async fn alone(database: &Arc<Database>, round: usize) -> Result<()> {
    let (sender, receiver) = mpsc::channel::<(String, oneshot::Sender<()>)>();
    let commits = std::thread::spawn({
        let database = Arc::clone(database);
        move || commit_what_waits(&database, &receiver)
    });
    let put = |number| {
        let (told, written) = oneshot::channel();
        let sent = sender.send((key(round, number), told));
        async move {
            sent?;
            Ok::<_, anyhow::Error>(written.await?)
        }
    };
    by_writers(PUTS, put).await?;
    drop(sender);
    commits.join().map_err(|_| anyhow!("the thread that commits panicked"))?
}

fn commit_what_waits(
    database: &Database,
    receiver: &mpsc::Receiver<(String, oneshot::Sender<()>)>,
) -> Result<()> {
    let value = [7; VALUE];
    while let Ok(first) = receiver.recv() {
        let waiting: Vec<_> = std::iter::once(first).chain(receiver.try_iter()).collect();
        let transaction = database.begin_write()?;
        {
            let mut table = transaction.open_table(TABLE)?;
            for (key, _) in &waiting {
                table.insert(key.as_bytes(), &value[..])?;
            }
        }
        // It is on disk then.
        transaction.commit()?;
        for (_, told) in waiting {
            // The round may have failed.
            let _ = told.send(());
        }
    }
    Ok(())
}

/// So many puts, by as many writers at once as there are.
async fn write(store: &Store, round: usize, puts: usize, durable: bool) -> Result<()> {
    let value: Bytes = vec![7; VALUE].into();
    let put = |number| {
        let put = store.put(&key(round, number), &value);
        if durable { put.durable() } else { put }.into_future()
    };
    by_writers(puts, put).await
}

/// So many puts, [`WRITERS`] of them under way at any time.
async fn by_writers<W, T, E>(puts: usize, put: impl Fn(usize) -> W) -> Result<()>
where
    W: Future<Output = Result<T, E>>,
    anyhow::Error: From<E>,
{
    let mut numbers = 0..puts;
    let mut writers: FuturesUnordered<_> = numbers.by_ref().take(WRITERS).map(&put).collect();
    while let Some(written) = writers.next().await {
        written?;
        writers.extend(numbers.next().map(&put));
    }
    Ok(())
}

/// From starting a slave's process until it listens, a million entries on its disk, the last
/// process killed; beside the same without a disk.
pub(crate) async fn recovery(rounds: usize) -> Result<()> {
    let directory = tempfile::tempdir()?;
    // Of its own: what images are called would be there again, and is counted.
    let cache = &directory.path().join("cache");
    let slave = Process::keeping(cache, &directory.path().join("store"))?;
    let master = Master::builder().slave(&slave.address).build().await?;
    let store = master.slaves().pop().context("no slave")?.store();
    write(&store, 0, ENTRIES, false).await?;
    store.put("last", &0).durable().await?;
    master.shutdown().await;
    // Killed, here and below, so that the database is not closed.
    drop(slave);
    let (mut times, mut limits) = (vec![], vec![]);
    for round in 0..=rounds {
        let begun = Instant::now();
        drop(Process::slave(cache)?);
        let bare = begun.elapsed().as_secs_f64() * 1e3;
        let begun = Instant::now();
        let slave = Process::keeping(cache, &directory.path().join("store"))?;
        let time = begun.elapsed().as_secs_f64() * 1e3;
        let master = Master::builder().slave(&slave.address).build().await?;
        let there = master.slaves().pop().context("no slave")?;
        let entries = there.describe().await?.store_entries;
        ensure!(entries == ENTRIES as u64 + 1, "{entries} entries are there");
        there.store().put("last", &round).durable().await?;
        master.shutdown().await;
        if round > 0 {
            times.push(time);
            limits.push(bare);
        }
    }
    print("recovery_ms", "ms", &times, &limits);
    Ok(())
}
