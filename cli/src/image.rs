//! `dpfw image`: images of slaves, from the command line.
//!
//! Owns: the commands, what a person reads of an image. Does not: make images; slaves do.
//! Invariant: what is dropped is an image, and the only one that is meant.

mod build;
mod found;

pub(crate) use found::From;

use crate::escape;
use crate::exit::{Exit, Failure};
use crate::json;
use crate::linked::{Link, There};
use crate::master;
use crate::run::write;
use crate::screen::Screen;
use crate::signals::Signals;
use crate::store::{failure, namespace};
use crate::table::{Align, table};
use build::Build;
use bytesize::ByteSize;
use clap::{Args, Subcommand};
use dpfw::{Listed, ListedImage, Namespace, Store};
use serde_json::{Value, json};
use std::time::Duration;

/// Makes, lists and drops images: memory that was initialised once.
///
/// An image is the memory of a module after one of its inits ran. Tasks start from it with
/// `dpfw run --image` and `dpfw map --image`, in microseconds, however long the init took.
#[derive(Args, Debug)]
#[command(after_help = crate::help::IMAGE)]
pub(crate) struct ImageCommand {
    #[command(subcommand)]
    operation: Operation,
}

#[derive(Subcommand, Debug)]
enum Operation {
    /// Lists the images of a slave in the order of their keys
    List {
        #[command(flatten)]
        place: Place,
    },
    Build(Build),
    /// Drops an image, with what is kept of it on disk; who needs it next has it made again
    Drop {
        /// The image's key; or its id, as `list` shows it
        image: String,
        #[command(flatten)]
        place: Place,
    },
}

/// Whose images, and in which part of its store.
#[derive(Args, Debug)]
struct Place {
    #[command(flatten)]
    there: There,
    /// The part of the store that the keys are in: the only one that the certificate names, or
    /// `default`, unless given
    #[arg(long, value_name = "NAME", value_parser = namespace)]
    namespace: Option<Namespace>,
}

impl ImageCommand {
    /// Runs the command.
    ///
    /// # Errors
    /// A [`Failure`] with the exit code.
    pub(crate) async fn run(&self, screen: &Screen) -> Result<Exit, Failure> {
        let place = match &self.operation {
            Operation::Build(build) => return build.run(screen).await,
            Operation::List { place } | Operation::Drop { place, .. } => place,
        };
        let mut signals = Signals::new()?;
        let link = place.there.link(place.namespace.clone(), screen, &mut signals).await?;
        let Link { master, slave } = link;
        let store = slave.store();
        let outcome = tokio::select! {
            outcome = self.apply(&store, screen) => outcome,
            exit = signals.next() => {
                Err(Failure::new(exit, "ended by a signal; the slave may have done it"))
            }
        };
        master::end(&master).await;
        outcome
    }

    async fn apply(&self, store: &Store, screen: &Screen) -> Result<Exit, Failure> {
        let entries = store.list("").await.map_err(|e| failure(&e))?;
        match &self.operation {
            Operation::Drop { image, .. } => drop_image(store, image, &entries, screen).await,
            _ => list(&entries, screen),
        }
    }
}

/// The entries that are images.
fn images(entries: &[Listed]) -> impl Iterator<Item = (&Listed, &ListedImage)> {
    entries.iter().filter_map(|entry| Some((entry, entry.image.as_ref()?)))
}

fn list(entries: &[Listed], screen: &Screen) -> Result<Exit, Failure> {
    if screen.is_json() {
        let mut lines = Vec::new();
        for (entry, image) in images(entries) {
            lines.extend(json::line(&told(entry, image))?);
        }
        return write(&lines);
    }
    if images(entries).next().is_none() {
        return Ok(Exit::Ok);
    }
    let head =
        ["KEY", "ID", "INIT", "MODULE", "MEMORY", "SNAPSHOT", "CAME", "TOOK", "IDLE", "OWNER"];
    let row = |(entry, image): (&Listed, &ListedImage)| {
        vec![
            escape::line(&entry.key).to_string(),
            image.id.to_string(),
            escape::line(&image.init).to_string(),
            image.module.to_string(),
            bytes(image.memory_bytes),
            bytes(image.snapshot_bytes),
            image.origin.to_string(),
            millis(image.init_time),
            humantime::format_duration(Duration::from_secs(entry.idle_s)).to_string(),
            entry.owner.to_string(),
        ]
    };
    let rows: Vec<_> =
        std::iter::once(head.map(String::from).into()).chain(images(entries).map(row)).collect();
    use Align::{Left, Right};
    let columns = [Left, Left, Left, Left, Right, Right, Left, Right, Right, Left];
    write(table(&columns, &rows).as_bytes())
}

fn told(entry: &Listed, image: &ListedImage) -> Value {
    json!({
        "key": entry.key, "id": image.id.to_hex(), "init": image.init,
        "module": image.module.to_hex(), "hash": image.hash.to_hex(),
        "memory_bytes": image.memory_bytes, "snapshot_bytes": image.snapshot_bytes,
        "origin": image.origin.as_str(), "init_us": micros(image.init_time),
        "idle_s": entry.idle_s, "owner": entry.owner.as_str(), "pinned": entry.pinned,
    })
}

async fn drop_image(
    store: &Store,
    wanted: &str,
    entries: &[Listed],
    screen: &Screen,
) -> Result<Exit, Failure> {
    let mut lines = Vec::new();
    for (entry, image) in meant(wanted, entries)? {
        let removed = store.remove(&entry.key).await.map_err(|e| failure(&e))?;
        let told = json!({ "key": entry.key, "id": image.id.to_hex(), "removed": removed });
        lines.extend(json::line(&told)?);
    }
    match screen.is_json() {
        true => write(&lines),
        false => Ok(Exit::Ok),
    }
}

/// Digits of an id that are asked for at least: as many as `list` shows.
const ID: usize = 8;

/// The image that a key or an id means, under all of its keys if it is an id.
fn meant<'a>(
    wanted: &str,
    entries: &'a [Listed],
) -> Result<Vec<(&'a Listed, &'a ListedImage)>, Failure> {
    if let Some(entry) = entries.iter().find(|entry| entry.key == wanted) {
        let wrong = || {
            let text = format!("`{wanted}` is no image: its entry is of the kind `{}`", entry.kind);
            Failure::usage(text).hint("`dpfw store remove` removes entries of any kind")
        };
        let image = entry.image.as_ref().ok_or_else(wrong)?;
        return Ok(vec![(entry, image)]);
    }
    let is_id = wanted.len() >= ID && wanted.bytes().all(|b| b.is_ascii_hexdigit());
    let wanted_id = wanted.to_ascii_lowercase();
    let found: Vec<_> = images(entries)
        .filter(|(_, image)| is_id && image.id.to_hex().starts_with(&wanted_id))
        .collect();
    match found.split_first() {
        None => Err(Failure::new(Exit::Absent, format!("there is no image `{wanted}`"))
            .hint("`dpfw image list` shows those that there are")),
        Some(((_, first), rest)) if rest.iter().any(|(_, image)| image.id != first.id) => {
            let text = format!("the ids of several images begin with `{wanted}`");
            Err(Failure::usage(text).hint("`dpfw image list --json` shows them in full"))
        }
        Some(_) => Ok(found),
    }
}

/// A size as a person reads it.
fn bytes(n: u64) -> String {
    ByteSize(n).display().iec().to_string()
}

fn millis(duration: Duration) -> String {
    humantime::format_duration(Duration::from_millis(
        u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
    ))
    .to_string()
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
