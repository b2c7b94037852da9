//! How far a map is, for a person.
//!
//! Owns: the bar below the text on standard error. Invariant: where standard error is no
//! terminal, or the results go to the terminal, nothing of it is written.

use crate::screen::Screen;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;

/// The bar of a map. It is removed when it is dropped.
#[derive(Debug)]
pub(crate) struct Bar {
    screen: Screen,
    bar: Option<ProgressBar>,
    lines: u64,
    failed: u64,
    bytes: u64,
}

/// With the input's length known.
const KNOWN: &str = "{bar:32} {percent:>3}%  {msg}  {elapsed_precise}, {eta} left";
/// Without.
const UNKNOWN: &str = "{spinner} {msg}  {elapsed_precise}";

impl Bar {
    /// A bar for an input of so many bytes, if that is known.
    pub(crate) fn new(screen: &Screen, total_bytes: Option<u64>) -> Self {
        let is_wanted = is_wanted() && !screen.is_json();
        let bar = is_wanted.then(|| make(total_bytes, ProgressDrawTarget::stderr()));
        screen.set_bar(bar.clone());
        Self { screen: screen.clone(), bar, lines: 0, failed: 0, bytes: 0 }
    }

    /// A line of so many bytes is done.
    pub(crate) fn add(&mut self, bytes: u64, has_failed: bool) {
        self.lines += 1;
        self.failed += u64::from(has_failed);
        self.bytes += bytes;
    }

    /// Shows what was added.
    pub(crate) fn show(&self) {
        if let Some(bar) = &self.bar {
            let per_second = self.lines as f64 / bar.elapsed().as_secs_f64().max(0.001);
            bar.set_message(message(self.lines, self.failed, per_second));
            bar.set_position(self.bytes);
        }
    }

    /// Lines that are done, and those of them that failed.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.lines, self.failed)
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.screen.set_bar(None);
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Whether somebody sees it, and not between the results.
fn is_wanted() -> bool {
    Screen::is_terminal() && !std::io::stdout().is_terminal()
}

fn make(total_bytes: Option<u64>, target: ProgressDrawTarget) -> ProgressBar {
    let template = if total_bytes.is_some() { KNOWN } else { UNKNOWN };
    let style = ProgressStyle::with_template(template);
    // The templates are constants, held by a test.
    let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::with_draw_target(total_bytes, target).with_style(style)
}

fn message(lines: u64, failed: u64, per_second: f64) -> String {
    let failed = if failed == 0 { String::new() } else { format!(", {failed} failed") };
    format!("{lines} lines{failed}, {per_second:.0}/s")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_templates_are_well_formed() {
        for template in [KNOWN, UNKNOWN] {
            ProgressStyle::with_template(template).expect("a template");
        }
    }

    #[test]
    fn failures_are_told_once_there_are_any() {
        assert_eq!(message(1200, 0, 599.6), "1200 lines, 600/s");
        assert_eq!(message(2, 1, 1.0), "2 lines, 1 failed, 1/s");
    }
}
