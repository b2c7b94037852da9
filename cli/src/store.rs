//! `dpfw store`: the keyed store of a slave, from the command line.
//!
//! Owns: what is asked for and how the answer is told. Does not: know what a value is;
//! `value` does. Invariant: what was asked for and is not so (no such entry, another
//! version) has an exit code of its own, and nothing was changed then.

mod value;
mod watch;

use crate::escape;
use crate::exit::{Exit, Failure};
use crate::json;
use crate::linked::{Link, There};
use crate::master;
use crate::run::write;
use crate::screen::Screen;
use crate::signals::Signals;
use crate::table::{Align, table};
use crate::units::Span;
use clap::{Args, Subcommand};
use dpfw::store::Write;
use dpfw::{Cause, Conditional, Listed, Namespace, Store, StoreError, acts_on_terminal};
use serde_json::json;
use std::io::IsTerminal;
use std::time::Duration;
use value::{Form, Value};

/// Reads and changes the keyed store of a slave.
///
/// Tasks and masters see the same entries. Values are given and printed as JSON, with
/// --text as a text as it stands, with --raw as bytes. Each change gives an entry a new
/// version, which `cas` then asks for.
#[derive(Args, Debug)]
#[command(after_help = crate::help::STORE)]
pub(crate) struct StoreCommand {
    #[command(subcommand)]
    operation: Operation,
}

#[derive(Subcommand, Debug)]
enum Operation {
    /// Prints a value, and its version on standard error
    Get {
        /// The entry's key
        key: String,
        #[command(flatten)]
        form: Form,
        #[command(flatten)]
        place: Place,
    },
    /// Writes a value, whatever was there, and prints its version
    Put {
        /// The entry's key
        key: String,
        #[command(flatten)]
        new: New,
        #[command(flatten)]
        place: Place,
    },
    /// Writes a value unless there is one, and prints its version
    PutIfAbsent {
        /// The entry's key
        key: String,
        #[command(flatten)]
        new: New,
        #[command(flatten)]
        place: Place,
    },
    /// Compare and swap: writes a value if the present one has this version, and prints the
    /// new one
    Cas {
        /// The entry's key
        key: String,
        /// The present version; 0 if there is no entry
        version: u64,
        #[command(flatten)]
        new: New,
        #[command(flatten)]
        place: Place,
    },
    /// Removes an entry
    Remove {
        /// The entry's key
        key: String,
        /// Done only when it is on the slave's disk
        #[arg(long)]
        durable: bool,
        #[command(flatten)]
        place: Place,
    },
    /// Keeps an entry from being evicted
    Pin {
        /// The entry's key
        key: String,
        #[command(flatten)]
        place: Place,
    },
    /// Lets an entry be evicted again, if it was put to be
    Unpin {
        /// The entry's key
        key: String,
        #[command(flatten)]
        place: Place,
    },
    /// Prints changes of entries, a line each, until SIGINT
    Watch {
        /// Only keys that begin so
        #[arg(default_value = "")]
        prefix: String,
        /// Prints the entries first that are there
        #[arg(long)]
        present: bool,
        /// Ends after so many lines
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
        count: Option<u64>,
        #[command(flatten)]
        place: Place,
    },
    /// Lists entries in the order of their keys
    List {
        /// Only keys that begin so
        #[arg(default_value = "")]
        prefix: String,
        #[command(flatten)]
        place: Place,
    },
}

/// What is to be written.
#[derive(Args, Debug)]
struct New {
    /// The value; standard input is read without it, and for `-`
    #[arg(allow_hyphen_values = true)]
    value: Option<String>,
    #[command(flatten)]
    form: Form,
    /// The slave may evict the value to make room
    #[arg(long)]
    evictable: bool,
    /// The value is gone after this time; until then it may be evicted
    #[arg(long, value_name = "DURATION")]
    ttl: Option<Span>,
    /// Done only when it is on the slave's disk
    #[arg(long)]
    durable: bool,
}

impl New {
    /// Writes on the terms that were asked for.
    async fn write<T: 'static>(&self, mut write: Write<T>) -> Result<T, Failure> {
        if self.evictable {
            write = write.evictable();
        }
        if let Some(Span(ttl)) = self.ttl {
            write = write.ttl(ttl);
        }
        if self.durable {
            write = write.durable();
        }
        write.await.map_err(|e| failure(&e))
    }
}

/// Whose store, and which part of it.
#[derive(Args, Debug)]
struct Place {
    #[command(flatten)]
    there: There,
    /// The part of the store that the keys are in: the only one that the certificate names, or
    /// `default`, unless given
    #[arg(long, value_name = "NAME", value_parser = namespace)]
    namespace: Option<Namespace>,
}

/// A namespace as it is given.
pub(crate) fn namespace(text: &str) -> Result<Namespace, String> {
    Namespace::new(text).map_err(|e| e.to_string())
}

impl StoreCommand {
    /// Runs the command.
    ///
    /// # Errors
    /// A [`Failure`] with the exit code.
    pub(crate) async fn run(&self, screen: &Screen) -> Result<Exit, Failure> {
        let mut signals = Signals::new()?;
        let operation = &self.operation;
        // Before the slave is linked, which would otherwise wait for a person who types.
        let value = operation.value()?;
        let place = operation.place();
        let link = place.there.link(place.namespace.clone(), screen, &mut signals).await?;
        let Link { master, slave } = link;
        let store = slave.store();
        let outcome = tokio::select! {
            outcome = operation.apply(&store, &value, screen) => outcome,
            exit = signals.next() => operation.ended(exit),
        };
        master::end(&master).await;
        outcome
    }
}

impl Operation {
    fn place(&self) -> &Place {
        match self {
            Self::Get { place, .. }
            | Self::Put { place, .. }
            | Self::PutIfAbsent { place, .. }
            | Self::Cas { place, .. }
            | Self::Remove { place, .. }
            | Self::Pin { place, .. }
            | Self::Unpin { place, .. }
            | Self::Watch { place, .. }
            | Self::List { place, .. } => place,
        }
    }

    /// What comes of a signal.
    fn ended(&self, exit: Exit) -> Result<Exit, Failure> {
        match self {
            // It goes on until then.
            Self::Watch { .. } => Ok(exit),
            _ => Err(Failure::new(exit, "ended by a signal; the slave may have done it")),
        }
    }

    /// The value that is to be written, if one is.
    fn value(&self) -> Result<Value, Failure> {
        match self {
            Self::Put { new, .. } | Self::PutIfAbsent { new, .. } | Self::Cas { new, .. } => {
                new.form.read(new.value.as_deref())
            }
            _ => Ok(Value::default()),
        }
    }

    async fn apply(&self, store: &Store, value: &Value, screen: &Screen) -> Result<Exit, Failure> {
        match self {
            Self::Get { key, form, .. } => get(store, key, *form, screen).await,
            Self::Put { key, new, .. } => {
                let version = new.write(store.put(key, value)).await?;
                written(key, Conditional::Written(version), screen)
            }
            Self::PutIfAbsent { key, new, .. } => {
                let done = new.write(store.put_if_absent_versioned(key, value)).await?;
                written(key, done, screen)
            }
            Self::Cas { key, version, new, .. } => {
                let write = store.compare_and_swap_versioned(key, *version, value);
                written(key, new.write(write).await?, screen)
            }
            Self::Pin { key, .. } => pinned(key, true, store.pin(key).await, screen),
            Self::Unpin { key, .. } => pinned(key, false, store.unpin(key).await, screen),
            Self::Watch { prefix, present, count, .. } => {
                watch::watch(store, prefix, *present, *count, screen).await
            }
            Self::Remove { key, durable, .. } => {
                let removed = match durable {
                    true => store.remove_durable(key).await,
                    false => store.remove(key).await,
                };
                match (removed.map_err(|e| failure(&e))?, screen.is_json()) {
                    (false, _) => Err(absent(key)),
                    (true, true) => write(&json::line(&json!({ "key": key, "removed": true }))?),
                    (true, false) => Ok(Exit::Ok),
                }
            }
            Self::List { prefix, .. } => {
                list(&store.list(prefix).await.map_err(|e| failure(&e))?, screen)
            }
        }
    }
}

fn pinned(
    key: &str,
    pinned: bool,
    there: Result<bool, StoreError>,
    screen: &Screen,
) -> Result<Exit, Failure> {
    match (there.map_err(|e| failure(&e))?, screen.is_json()) {
        (false, _) => Err(absent(key)),
        (true, true) => write(&json::line(&json!({ "key": key, "pinned": pinned }))?),
        (true, false) => Ok(Exit::Ok),
    }
}

async fn get(store: &Store, key: &str, form: Form, screen: &Screen) -> Result<Exit, Failure> {
    let stored = match store.get_versioned::<Value>(key).await {
        Ok(stored) => stored.ok_or_else(|| absent(key))?,
        Err(error) => return Err(failure(&error)),
    };
    if screen.is_json() {
        let value = form.json(&stored.value)?;
        let told = json!({ "key": key, "version": stored.version, "value": value });
        return write(&json::line(&told)?);
    }
    let mut bytes = form.print(&stored.value).map_err(|failure| failure.of(key))?;
    if std::io::stdout().is_terminal() {
        bytes = harmless(&bytes);
    }
    screen.line(format_args!("version {}", stored.version));
    write(&bytes)
}

/// What a terminal may show of a value, and the end of its last line.
fn harmless(bytes: &[u8]) -> Vec<u8> {
    let mut out = String::new();
    for c in String::from_utf8_lossy(bytes).chars() {
        match acts_on_terminal(c) && !matches!(c, '\n' | '\t') {
            true => out.extend(c.escape_unicode()),
            false => out.push(c),
        }
    }
    if !out.ends_with('\n') {
        out.push('\n');
    }
    out.into_bytes()
}

fn written(key: &str, outcome: Conditional, screen: &Screen) -> Result<Exit, Failure> {
    match (outcome, screen.is_json()) {
        (Conditional::Written(version), true) => {
            write(&json::line(&json!({ "key": key, "version": version }))?)
        }
        (Conditional::Written(version), false) => write(format!("version {version}\n").as_bytes()),
        (Conditional::Kept(0), _) => Err(Failure::new(
            Exit::Conflict,
            format!("there is no entry `{key}`; nothing was written"),
        )
        .hint("version 0 stands for no entry")),
        (Conditional::Kept(version), _) => {
            let text = format!("`{key}` has version {version}; nothing was written");
            Err(Failure::new(Exit::Conflict, text).hint("`dpfw store get` shows what is there"))
        }
    }
}

fn list(entries: &[Listed], screen: &Screen) -> Result<Exit, Failure> {
    if screen.is_json() {
        let mut lines = Vec::new();
        for entry in entries {
            let Listed { key, kind, bytes, version, idle_s, owner, pinned, evictable, .. } = entry;
            let entry = json!({
                "key": key, "kind": kind.as_str(), "bytes": bytes, "version": version,
                "idle_s": idle_s, "owner": owner.as_str(), "pinned": pinned,
                "evictable": evictable, "ttl_ms": entry.ttl.map(|ttl| ttl.as_millis() as u64),
            });
            lines.extend(json::line(&entry)?);
        }
        return write(&lines);
    }
    if entries.is_empty() {
        return Ok(Exit::Ok);
    }
    let head =
        ["KEY", "KIND", "BYTES", "VERSION", "IDLE", "OWNER", "KEPT"].map(String::from).into();
    let row = |entry: &Listed| {
        vec![
            escape::line(&entry.key).to_string(),
            entry.kind.to_string(),
            entry.bytes.to_string(),
            entry.version.to_string(),
            humantime::format_duration(Duration::from_secs(entry.idle_s)).to_string(),
            entry.owner.to_string(),
            kept(entry),
        ]
    };
    let rows: Vec<_> = std::iter::once(head).chain(entries.iter().map(row)).collect();
    use Align::{Left, Right};
    let columns = [Left, Left, Right, Right, Right, Left, Left];
    write(table(&columns, &rows).as_bytes())
}

/// How long an entry is kept, in words.
fn kept(entry: &Listed) -> String {
    let time = entry.ttl.map(|ttl| {
        let whole = Duration::from_secs(ttl.as_secs());
        format!("{} left", humantime::format_duration(whole))
    });
    let how = match (entry.pinned, entry.evictable, &time) {
        (true, ..) => Some("pinned".to_owned()),
        (false, true, None) => Some("evictable".to_owned()),
        _ => None,
    };
    how.into_iter().chain(time).collect::<Vec<_>>().join(", ")
}

fn absent(key: &str) -> Failure {
    Failure::new(Exit::Absent, format!("there is no entry `{key}`"))
        .hint("`dpfw store list` shows those that there are")
}

/// What is said of an operation that failed.
pub(crate) fn failure(error: &StoreError) -> Failure {
    let exit = match error.cause() {
        // A key that is none.
        Cause::BadArguments { .. } => Exit::Usage,
        cause => Exit::of(cause),
    };
    Failure { hint: crate::advice::on(error.cause()), ..Failure::of(exit, error) }
}
