//! The log, on standard error.
//!
//! Owns: which events are written, and how. Invariant: what guests and peers put into an
//! event is escaped, and a line of the log is one line.

use crate::escape;
use crate::exec::stderr::{PassOn, Rest, passed_on};
use crate::exit::Failure;
use crate::screen::{Screen, has_colours};
use clap::Args;
use std::fmt::Write as _;
use std::io;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::filter::FilterExt;
use tracing_subscriber::fmt::{MakeWriter, format};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

/// What is logged.
#[derive(Args, Debug)]
#[command(next_help_heading = "Log")]
pub(crate) struct LogOptions {
    /// Tells more on standard error: of an error its causes and the backtrace; in the log
    /// once what happens, twice every detail, thrice all
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    verbose: u8,
    /// What is logged, as `tracing` filters are written, for instance
    /// `warn,dpfw_slave=debug`; tasks log as `dpfw::task`. Comes before -v, and -v before
    /// the environment's DPFW_LOG
    #[arg(long, value_name = "FILTER", global = true)]
    log: Option<String>,
    /// Logs one JSON object a line
    #[arg(long, global = true)]
    log_json: bool,
}

/// What becomes of lines that guests write to stderr.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stderr {
    /// They are lines of the log.
    Logged,
    /// They are lines of this process's stderr.
    PassedOn,
}

/// The environment's filter.
const VARIABLE: &str = "DPFW_LOG";

impl LogOptions {
    /// How many -v there were.
    pub(crate) fn verbose(&self) -> u8 {
        self.verbose
    }

    fn filter(&self) -> Result<EnvFilter, Failure> {
        let parse = |from: &str, text: &str| {
            let hint = "write for instance warn,dpfw_slave=debug";
            EnvFilter::builder().parse(text).map_err(|e| {
                Failure::usage(format!("{from} {text:?} is no log filter: {e}; {hint}"))
            })
        };
        match (&self.log, self.verbose) {
            (Some(filter), _) => parse("--log", filter),
            (None, 1) => parse("-v", "warn,dpfw=info"),
            (None, 2) => parse("-vv", "info,dpfw=debug"),
            (None, 3..) => parse("-vvv", "debug,dpfw=trace"),
            (None, 0) => match std::env::var(VARIABLE) {
                Ok(filter) => parse(VARIABLE, &filter),
                Err(std::env::VarError::NotPresent) => parse("--log", "warn"),
                Err(error) => Err(Failure::usage(format!("{VARIABLE}: {error}"))),
            },
        }
    }

    /// Starts the log.
    ///
    /// # Errors
    /// A usage failure if the filter is none.
    pub(crate) fn start(&self, screen: &Screen, stderr: Stderr) -> Result<(), Failure> {
        let log = tracing_subscriber::fmt::layer().with_ansi(has_colours(&io::stderr()));
        let log = match self.log_json || screen.is_json() {
            true => {
                let writer = Lines { screen: screen.clone(), form: Form::Json };
                log.json().flatten_event(true).with_writer(writer).boxed()
            }
            false => {
                let writer = Lines { screen: screen.clone(), form: Form::Text };
                log.fmt_fields(format::debug_fn(field).delimited(" ")).with_writer(writer).boxed()
            }
        };
        let filter = self.filter()?;
        match stderr {
            Stderr::Logged => tracing_subscriber::registry().with(log.with_filter(filter)).init(),
            // Whatever is logged.
            Stderr::PassedOn => tracing_subscriber::registry()
                .with(log.with_filter(filter.and(Rest)))
                .with(PassOn(screen.clone()).with_filter(passed_on()))
                .init(),
        }
        Ok(())
    }
}

/// A field of an event as text.
fn field(
    writer: &mut format::Writer<'_>,
    field: &tracing::field::Field,
    value: &dyn std::fmt::Debug,
) -> std::fmt::Result {
    let value = format!("{value:?}");
    let value = escape::line(&value);
    match field.name() {
        "message" => writer.write_str(&value),
        name => write!(writer, "{name}={value}"),
    }
}

/// Takes whole lines of the log to the screen.
#[derive(Clone, Debug)]
struct Lines {
    screen: Screen,
    form: Form,
}

#[derive(Clone, Copy, Debug)]
enum Form {
    /// With the log's own colours; its fields are escaped already.
    Text,
    Json,
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = &'a Self;
    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

impl io::Write for &Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match self.form {
            Form::Text => self.screen.write(line),
            Form::Json => self.screen.write(json(&String::from_utf8_lossy(line)).as_bytes()),
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// JSON in which nothing acts on a terminal: serde_json escapes only what JSON requires.
fn json(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    for c in line.chars() {
        match c != '\n' && escape::acts(c) {
            true => c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| {
                // Writing to a text cannot fail.
                let _ = write!(out, "\\u{unit:04x}");
            }),
            false => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_stays_json() {
        let line = "{\"text\":\"a\u{9b}b\u{e0001}\"}\n";
        let escaped = json(line);
        assert_eq!(escaped, "{\"text\":\"a\\u009bb\\udb40\\udc01\"}\n");
        let value: serde_json::Value = serde_json::from_str(&escaped).expect("JSON");
        assert_eq!(value["text"], "a\u{9b}b\u{e0001}");
    }
}
