//! Standard error: what a person reads.
//!
//! Owns: the only way to standard error, so that a progress bar and lines of text do not
//! run into each other. Invariant: text is escaped here or before; a standard error that
//! is closed stops nothing.

use crate::escape;
use indicatif::ProgressBar;
use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};

/// Standard error. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Screen(Arc<Mutex<Option<ProgressBar>>>);

impl Screen {
    /// `error: ` and the text, which may have several lines.
    pub(crate) fn error(&self, text: impl fmt::Display) {
        self.say("error", &text.to_string());
    }

    /// `warning: ` and the text.
    pub(crate) fn warn(&self, text: impl fmt::Display) {
        self.say("warning", &text.to_string());
    }

    fn say(&self, kind: &str, text: &str) {
        self.write(format!("{kind}: {}\n", escape::lines(text)).as_bytes());
    }

    /// One line, whatever the text has.
    pub(crate) fn line(&self, text: impl fmt::Display) {
        self.write(format!("{}\n", escape::line(&text.to_string())).as_bytes());
    }

    /// Bytes that are escaped already, above the bar if there is one.
    pub(crate) fn write(&self, bytes: &[u8]) {
        let bar = self.0.lock().unwrap_or_else(PoisonError::into_inner);
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
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = bar;
    }

    /// Whether a person may be watching.
    pub(crate) fn is_terminal() -> bool {
        io::stderr().is_terminal()
    }
}
