//! `dpfw store`: the keyed store of a slave, from the command line.
//!
//! Owns: what is asked for and how the answer is told. Does not: know what a value is;
//! `value` does. Invariant: what was asked for and is not so (no such entry, another
//! version) has an exit code of its own, and nothing was changed then.

mod value;

use crate::escape;
use crate::exit::{Exit, Failure};
use crate::json;
use crate::linked::{Link, There};
use crate::master;
use crate::run::write;
use crate::screen::Screen;
use crate::signals::Signals;
use crate::table::{Align, table};
use clap::{Args, Subcommand};
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
}

/// Whose store, and which part of it.
#[derive(Args, Debug)]
struct Place {
    #[command(flatten)]
    there: There,
    /// The part of the store that the keys are in
    #[arg(long, value_name = "NAME", default_value = "default", value_parser = namespace)]
    namespace: Namespace,
}

fn namespace(text: &str) -> Result<Namespace, String> {
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
            exit = signals.next() => Err(Failure::new(exit, "ended by a signal; the slave may have done it")),
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
            | Self::List { place, .. } => place,
        }
    }

    /// The value that is to be written, if one is.
    fn value(&self) -> Result<Value, Failure> {
        match self {
            Self::Put { new, .. } | Self::PutIfAbsent { new, .. } | Self::Cas { new, .. } => {
                new.form.read(new.value.as_deref())
            }
            Self::Get { .. } | Self::Remove { .. } | Self::List { .. } => Ok(Value::default()),
        }
    }

    async fn apply(&self, store: &Store, value: &Value, screen: &Screen) -> Result<Exit, Failure> {
        match self {
            Self::Get { key, form, .. } => get(store, key, *form, screen).await,
            Self::Put { key, .. } => {
                let version = store.put(key, value).await.map_err(|e| failure(&e))?;
                written(key, Conditional::Written(version), screen)
            }
            Self::PutIfAbsent { key, .. } => {
                let done = store.put_if_absent_versioned(key, value).await;
                written(key, done.map_err(|e| failure(&e))?, screen)
            }
            Self::Cas { key, version, .. } => {
                let done = store.compare_and_swap_versioned(key, *version, value).await;
                written(key, done.map_err(|e| failure(&e))?, screen)
            }
            Self::Remove { key, .. } => {
                match (store.remove(key).await.map_err(|e| failure(&e))?, screen.is_json()) {
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
        for Listed { key, bytes, version, idle_s, owner, .. } in entries {
            let entry = json!({
                "key": key, "bytes": bytes, "version": version, "idle_s": idle_s,
                "owner": owner.as_str(),
            });
            lines.extend(json::line(&entry)?);
        }
        return write(&lines);
    }
    if entries.is_empty() {
        return Ok(Exit::Ok);
    }
    let head = ["KEY", "BYTES", "VERSION", "IDLE", "OWNER"].map(String::from).into();
    let row = |entry: &Listed| {
        vec![
            escape::line(&entry.key).to_string(),
            entry.bytes.to_string(),
            entry.version.to_string(),
            humantime::format_duration(Duration::from_secs(entry.idle_s)).to_string(),
            entry.owner.to_string(),
        ]
    };
    let rows: Vec<_> = std::iter::once(head).chain(entries.iter().map(row)).collect();
    let columns = [Align::Left, Align::Right, Align::Right, Align::Right, Align::Left];
    write(table(&columns, &rows).as_bytes())
}

fn absent(key: &str) -> Failure {
    Failure::new(Exit::Absent, format!("there is no entry `{key}`"))
        .hint("`dpfw store list` shows those that there are")
}

fn failure(error: &StoreError) -> Failure {
    let exit = match error.cause() {
        // A key that is none.
        Cause::BadArguments { .. } => Exit::Usage,
        cause => Exit::of(cause),
    };
    Failure { hint: crate::advice::on(error.cause()), ..Failure::of(exit, error) }
}
