//! The log as something to wait for.
//!
//! Invariant: one subscriber for the process, whatever the test runner does; a test looks
//! for what only it can have caused.

use crate::wait::until;
use anyhow::Result;
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use tracing_subscriber::fmt::MakeWriter;

/// Lines that are kept; no test writes more before it looks.
const MOST: usize = 100_000;

/// The lines logged so far, in this process.
#[derive(Clone, Debug, Default)]
pub struct Lines(Arc<Mutex<VecDeque<String>>>);

impl Lines {
    /// Listens to the log from now on.
    pub fn capture() -> Self {
        static LINES: OnceLock<Lines> = OnceLock::new();
        let start = || {
            let lines = Self::default();
            let subscriber = tracing_subscriber::fmt()
                .with_max_level(tracing::Level::DEBUG)
                .with_ansi(false)
                .with_writer(lines.clone())
                .finish();
            // Nobody else sets one in a test.
            let _ = tracing::subscriber::set_global_default(subscriber);
            lines
        };
        LINES.get_or_init(start).clone()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lines that contain all of these.
    pub fn with(&self, parts: &[&str]) -> Vec<String> {
        let has_all = |line: &&String| parts.iter().all(|part| line.contains(part));
        self.lock().iter().filter(has_all).cloned().collect()
    }

    /// Waits for a line that contains all of these.
    ///
    /// # Errors
    /// If none comes.
    pub async fn wait_for(&self, parts: &[&str]) -> Result<String> {
        let what = format!("a log line with {parts:?}");
        until(&what, async || Ok(!self.with(parts).is_empty())).await?;
        Ok(self.with(parts).swap_remove(0))
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line { lines: self.clone(), text: Vec::new() }
    }
}

/// One event on its way.
#[derive(Debug)]
pub struct Line {
    lines: Lines,
    text: Vec<u8>,
}

impl io::Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let mut lines = self.lines.lock();
        if lines.len() == MOST {
            lines.pop_front();
        }
        lines.push_back(String::from_utf8_lossy(&self.text).into_owned());
    }
}
