//! How far work is, for whoever watches.
//!
//! Owns: stderr while the work lasts. Invariant: a terminal gets a bar, anything else gets
//! plain lines, one for each tenth.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::time::Duration;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Queries, tasks, whatever is counted one by one.
    Items,
}

impl Unit {
    fn style(self) -> &'static str {
        match self {
            Self::Bytes => "{bar:40} {bytes} of {total_bytes}, {bytes_per_sec}, {elapsed}",
            Self::Items => "{msg:24} {bar:30} {pos} of {len}, {per_sec}, {elapsed}",
        }
    }
}

/// A progress bar.
#[derive(Debug)]
pub struct Bar {
    bar: ProgressBar,
    is_terminal: bool,
}

impl Bar {
    /// Nothing of so much is done yet.
    pub fn new(total: u64, unit: Unit) -> Self {
        let is_terminal = std::io::stderr().is_terminal();
        let bar = match is_terminal {
            true => ProgressBar::new(total),
            false => ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::hidden()),
        };
        if let Ok(style) = ProgressStyle::with_template(unit.style()) {
            bar.set_style(style);
        }
        if is_terminal {
            bar.enable_steady_tick(Duration::from_millis(100));
        }
        Self { bar, is_terminal }
    }

    /// Says what it is that is being done.
    #[must_use]
    pub fn of(self, what: &'static str) -> Self {
        self.bar.set_message(what);
        self
    }

    /// So much more is done.
    pub fn advance(&self, by: u64) {
        let before = self.bar.position();
        self.bar.inc(by);
        let total = self.bar.length().unwrap_or_default();
        if let Some(tenth) = tenth(before, before + by, total).filter(|_| !self.is_terminal) {
            eprintln!("{tenth}0 %");
        }
    }

    /// A line of its own above the bar.
    pub fn say(&self, line: &str) {
        self.bar.suspend(|| eprintln!("{line}"));
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// The last tenth of the total that was passed between two positions.
fn tenth(before: u64, now: u64, total: u64) -> Option<u64> {
    let tenths = |position: u64| (position * 10).checked_div(total);
    tenths(now).filter(|_| tenths(before) != tenths(now))
}

#[cfg(test)]
mod tests {
    use super::tenth;

    #[test]
    fn each_tenth_is_told_once() {
        let passed: Vec<_> = (0..25).filter_map(|n| tenth(n * 4, n * 4 + 4, 100)).collect();
        assert_eq!(passed, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
        assert_eq!(tenth(0, 0, 0), None);
    }
}
