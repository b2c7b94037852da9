//! `dpfw slaves`: how slaves are, as a table.
//!
//! Owns: asking them, at once, and the table. Invariant: a slave that does not answer is a
//! row that says so, and holds up the others for `PATIENCE` at most.

use crate::address::Address;
use crate::escape;
use crate::exit::{Exit, Failure};
use crate::json;
use crate::linked::{How, Link, PATIENCE, link};
use crate::master;
use crate::run::write;
use crate::screen::Screen;
use crate::security::SecurityOptions;
use crate::signals::Signals;
use crate::table::{Align, table};
use crate::units::Span;
use bytesize::ByteSize;
use clap::Args;
use dpfw::Description;
use futures_util::future::join_all;
use serde_json::{Value, json};
use std::io::IsTerminal;
use std::time::Duration;

/// Shows how slaves are: what runs there, what waits, what they hold.
///
/// With --json an object a line for each slave. Ends with code 5 if one does not answer.
#[derive(Args, Debug)]
#[command(after_help = crate::help::SLAVES)]
pub(crate) struct Slaves {
    /// Where a slave listens. May be given several times
    #[arg(long = "slave", value_name = "ADDR", required = true)]
    addresses: Vec<Address>,
    /// Goes on, and asks again after this time, until SIGINT; on a terminal in the same place
    #[arg(long, value_name = "DURATION", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "2s", value_parser = pause)]
    watch: Option<Span>,
    #[command(flatten)]
    security: SecurityOptions,
}

fn pause(text: &str) -> Result<Span, String> {
    let span: Span = text.parse()?;
    match span.0 >= Duration::from_millis(100) {
        true => Ok(span),
        false => Err("it has to be 100ms or more".into()),
    }
}

/// A slave that is looked at, with its link once there is one.
struct Watched<'a> {
    address: &'a Address,
    link: Option<Link>,
}

/// What is known of a slave now.
struct Seen {
    name: String,
    description: Description,
}

impl Slaves {
    /// Runs the command.
    ///
    /// # Errors
    /// A [`Failure`] with the exit code.
    pub(crate) async fn run(&self, screen: &Screen) -> Result<Exit, Failure> {
        let mut signals = Signals::new()?;
        let security = self.security.security(screen)?;
        let how = How { security, tries: 1, namespace: None };
        let mut slaves: Vec<_> =
            self.addresses.iter().map(|address| Watched { address, link: None }).collect();
        let clears = self.watch.is_some() && !screen.is_json() && std::io::stdout().is_terminal();
        let mut is_first = true;
        loop {
            let look = join_all(slaves.iter_mut().map(|slave| slave.look(&how)));
            let seen = tokio::select! {
                seen = look => seen,
                exit = signals.next() => return Ok(exit),
            };
            let text = self.render(&seen, screen)?;
            let before = if clears {
                CLEAR
            } else if is_first || screen.is_json() {
                ""
            } else {
                "\n"
            };
            is_first = false;
            let exit = write(&[before.as_bytes(), &text].concat())?;
            let Some(pause) = self.watch.filter(|_| exit == Exit::Ok) else {
                end(slaves).await;
                let usage = |failure: &Failure| failure.exit == Exit::Usage;
                let failed: Vec<_> = seen.into_iter().filter_map(Result::err).collect();
                return match (exit, failed.first()) {
                    (Exit::Ok, Some(first)) if usage(first) => {
                        let first = failed.into_iter().find(usage);
                        Err(first.unwrap_or_else(|| Failure::new(Exit::Link, "no slave")))
                    }
                    (Exit::Ok, Some(_)) => Ok(Exit::Link),
                    (exit, _) => Ok(exit),
                };
            };
            tokio::select! {
                () = tokio::time::sleep(pause.0) => {}
                exit = signals.next() => {
                    end(slaves).await;
                    return Ok(exit);
                }
            }
        }
    }

    fn render(&self, seen: &[Result<Seen, Failure>], screen: &Screen) -> Result<Vec<u8>, Failure> {
        let all = self.addresses.iter().zip(seen);
        if !screen.is_json() {
            let rows = std::iter::once(HEAD.map(String::from).into());
            let rows: Vec<_> = rows.chain(all.map(|(address, seen)| row(address, seen))).collect();
            return Ok(table(&COLUMNS, &rows).into_bytes());
        }
        let mut lines = Vec::new();
        for (address, seen) in all {
            lines.extend(json::line(&object(address, seen))?);
        }
        Ok(lines)
    }
}

async fn end(slaves: Vec<Watched<'_>>) {
    let links = slaves.into_iter().filter_map(|slave| slave.link);
    let ends: Vec<_> = links.map(|link| async move { master::end(&link.master).await }).collect();
    join_all(ends).await;
}

/// Goes to the upper left corner, and clears what is below.
const CLEAR: &str = "\x1b[H\x1b[J";

impl Watched<'_> {
    /// Asks the slave; links it before that if need be.
    async fn look(&mut self, how: &How) -> Result<Seen, Failure> {
        match tokio::time::timeout(PATIENCE, self.ask(how)).await {
            Ok(seen) => seen,
            Err(_) => {
                self.link = None;
                let text =
                    format!("{} does not answer within {} s", self.address, PATIENCE.as_secs());
                Err(Failure::new(Exit::Link, text))
            }
        }
    }

    async fn ask(&mut self, how: &How) -> Result<Seen, Failure> {
        let known = self.link.take().filter(|link| link.slave.is_linked());
        let link = match known {
            Some(link) => link,
            None => link(self.address, how).await?,
        };
        let description = link.slave.describe().await;
        let description = description.map_err(|e| Failure::of(Exit::Link, &e))?;
        let name = link.slave.name().to_string();
        self.link = Some(link);
        Ok(Seen { name, description })
    }
}

const HEAD: [&str; 17] = [
    "SLAVE",
    "NAME",
    "STATE",
    "SLOTS",
    "RUNNING",
    "WAITING",
    "QUEUED",
    "LOAD",
    "MEMORY",
    "STORE",
    "DISK",
    "ENTRIES",
    "EVICTED",
    "RESIDENTS",
    "MODULES",
    "UPTIME",
    "VERSION",
];

const COLUMNS: [Align; 17] = {
    use Align::{Left, Right};
    [
        Left, Left, Left, Right, Right, Right, Right, Right, Right, Right, Left, Right, Right,
        Right, Right, Right, Left,
    ]
};

fn row(address: &Address, seen: &Result<Seen, Failure>) -> Vec<String> {
    let Seen { name, description: now } = match seen {
        Ok(seen) => seen,
        Err(failure) => {
            let why = format!("unreachable: {}", escape::line(&failure.text));
            return vec![address.to_string(), String::new(), why];
        }
    };
    vec![
        address.to_string(),
        name.clone(),
        state(now).into(),
        now.slots.to_string(),
        now.running.to_string(),
        now.waiting.to_string(),
        now.queued.to_string(),
        format!("{:.2}", now.load),
        size(now.memory_bytes),
        size(now.store_bytes),
        now.disk.to_string(),
        now.store_entries.to_string(),
        now.store_evicted.to_string(),
        now.residents.to_string(),
        now.modules.to_string(),
        humantime::format_duration(now.uptime).to_string(),
        escape::line(&now.agent).to_string(),
    ]
}

fn state(now: &Description) -> &'static str {
    if now.draining { "draining" } else { "serving" }
}

fn size(bytes: u64) -> String {
    ByteSize(bytes).to_string()
}

fn object(address: &Address, seen: &Result<Seen, Failure>) -> Value {
    let Seen { name, description: now } = match seen {
        Ok(seen) => seen,
        Err(failure) => {
            return json!({ "slave": address.as_str(), "state": "unreachable", "error": failure.text });
        }
    };
    json!({
        "slave": address.as_str(), "name": name, "state": state(now), "slots": now.slots,
        "running": now.running, "waiting": now.waiting, "queued": now.queued,
        "sandboxes": now.sandboxes, "load": now.load, "memory_bytes": now.memory_bytes,
        "store_bytes": now.store_bytes, "store_entries": now.store_entries,
        "store_evicted": now.store_evicted, "disk": now.disk.as_str(), "residents": now.residents,
        "modules": now.modules, "links": now.links, "uptime_s": now.uptime.as_secs(),
        "version": now.agent,
    })
}
