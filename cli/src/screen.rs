//! Standard error: what a person reads, or, with --json, a program.
//!
//! Owns: the only way to standard error, so that a progress bar and lines of text do not
//! run into each other. Invariant: text is escaped here or before; a standard error that
//! is closed stops nothing; with --json everything on it is an object a line.

use crate::escape;
use crate::exit::Failure;
use crate::json;
use crate::report::{self, Look, Told};
use indicatif::ProgressBar;
use serde_json::{Value, json};
use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// Who reads it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Form {
    /// A person.
    #[default]
    Text,
    /// A program: one JSON object a line.
    Json,
}

/// Standard error. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Screen {
    bar: Arc<Mutex<Option<ProgressBar>>>,
    form: Form,
    look: Look,
}

impl Screen {
    /// For a reader, with so many -v.
    pub(crate) fn new(form: Form, verbose: u8) -> Self {
        let look = Look { verbose, colours: form == Form::Text && has_colours(&io::stderr()) };
        Self { bar: Arc::default(), form, look }
    }

    /// Who reads it.
    pub(crate) fn form(&self) -> Form {
        self.form
    }

    /// Whether a program reads what is written.
    pub(crate) fn is_json(&self) -> bool {
        self.form == Form::Json
    }

    /// What ended the program, and what to try.
    pub(crate) fn failure(&self, failure: &Failure) {
        match self.form {
            Form::Text => self.write(report::text(failure, self.look).as_bytes()),
            Form::Json => self.tell(&json!({ "error": Told::of(failure, None) })),
        }
    }

    /// What became of one of many, of which the others go on.
    pub(crate) fn line_failure(&self, number: u64, failure: &Failure) {
        match self.form {
            Form::Text => self.line(format_args!("error: line {number}: {}", failure.text)),
            Form::Json => self.tell(&json!({ "error": Told::of(failure, Some(number)) })),
        }
    }

    /// `error: ` and the text, which may have several lines.
    pub(crate) fn error(&self, text: impl fmt::Display) {
        self.say("error", &text.to_string());
    }

    /// `warning: ` and the text.
    pub(crate) fn warn(&self, text: impl fmt::Display) {
        self.say("warning", &text.to_string());
    }

    /// One line that is no error, whatever the text has.
    pub(crate) fn line(&self, text: impl fmt::Display) {
        let text = text.to_string();
        match self.form {
            Form::Text => self.write(format!("{}\n", escape::line(&text)).as_bytes()),
            Form::Json => self.tell(&json!({ "note": text })),
        }
    }

    /// Where slaves may dial in.
    pub(crate) fn listening(&self, address: &SocketAddr) {
        match self.form {
            Form::Text => self.line(format_args!("listening on {address}")),
            Form::Json => self.tell(&json!({ "listening": address })),
        }
    }

    fn say(&self, kind: &str, text: &str) {
        match self.form {
            Form::Text => self.write(report::lines(kind, text, self.look).as_bytes()),
            Form::Json => self.tell(&json!({ kind: { "message": text } })),
        }
    }

    fn tell(&self, value: &Value) {
        if let Ok(line) = json::line(value) {
            self.write(&line);
        }
    }

    /// Bytes that are escaped already, above the bar if there is one.
    pub(crate) fn write(&self, bytes: &[u8]) {
        let bar = self.bar.lock().unwrap_or_else(PoisonError::into_inner);
        let write = || {
            // There is nowhere to say that standard error is closed.
            let _ = io::stderr().write_all(bytes);
        };
        match &*bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }

    /// Shows a bar below the text, or removes it.
    pub(crate) fn set_bar(&self, bar: Option<ProgressBar>) {
        *self.bar.lock().unwrap_or_else(PoisonError::into_inner) = bar;
    }

    /// Whether a person may be watching.
    pub(crate) fn is_terminal() -> bool {
        io::stderr().is_terminal()
    }
}

/// Whether colours are wanted there: on a terminal, unless NO_COLOR says otherwise
/// (<https://no-color.org>).
pub(crate) fn has_colours(stream: &impl IsTerminal) -> bool {
    let none = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    stream.is_terminal() && !none && !dumb
}
