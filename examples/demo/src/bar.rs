//! How far the job is, for whoever watches.
//!
//! Owns: stderr while the job runs. Invariant: a terminal gets a bar, anything else gets
//! plain lines, one for each tenth.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::time::Duration;

/// A progress bar over bytes.
#[derive(Debug)]
pub(crate) struct Bar {
    bar: ProgressBar,
    is_terminal: bool,
}

const STYLE: &str = "{bar:40} {bytes} of {total_bytes}, {bytes_per_sec}, {elapsed}";

impl Bar {
    pub(crate) fn new(bytes: u64) -> Self {
        let is_terminal = std::io::stderr().is_terminal();
        let bar = match is_terminal {
            true => ProgressBar::new(bytes),
            false => ProgressBar::with_draw_target(Some(bytes), ProgressDrawTarget::hidden()),
        };
        if let Ok(style) = ProgressStyle::with_template(STYLE) {
            bar.set_style(style);
        }
        if is_terminal {
            bar.enable_steady_tick(Duration::from_millis(100));
        }
        Self { bar, is_terminal }
    }

    pub(crate) fn advance(&self, bytes: u64) {
        let before = self.bar.position();
        self.bar.inc(bytes);
        let total = self.bar.length().unwrap_or_default();
        if let Some(tenth) = tenth(before, before + bytes, total).filter(|_| !self.is_terminal) {
            eprintln!("{tenth}0 %");
        }
    }

    /// A line of its own above the bar.
    pub(crate) fn say(&self, line: &str) {
        self.bar.suspend(|| eprintln!("{line}"));
    }

    pub(crate) fn finish(&self) {
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
