//! What a person reads.
//!
//! Owns: the form of a table. Does not: know what is in it.

use std::fmt::{self, Display};

/// Titles and rows, in the order in which they were given.
#[derive(Debug, Default)]
pub struct Report {
    lines: Vec<Line>,
}

#[derive(Debug)]
enum Line {
    Title(&'static str),
    Row(String, String),
}

impl Report {
    /// Begins a part.
    pub fn title(&mut self, title: &'static str) {
        self.lines.push(Line::Title(title));
    }

    /// Adds a row to the part.
    pub fn row(&mut self, name: impl Display, value: impl Display) {
        self.lines.push(Line::Row(name.to_string(), value.to_string()));
    }

    /// Prints what there is, and begins anew.
    pub fn print_and_clear(&mut self) {
        print!("{self}");
        self.lines.clear();
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.lines.iter().map(|line| match line {
            Line::Row(name, _) => name.chars().count(),
            Line::Title(_) => 0,
        });
        let width = names.max().unwrap_or_default();
        for line in &self.lines {
            match line {
                Line::Title(title) => writeln!(f, "\n{title}")?,
                Line::Row(name, value) => writeln!(f, "  {name:width$}  {value}")?,
            }
        }
        Ok(())
    }
}

/// A number with its thousands apart.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_apart() {
        let grouped = [0, 999, 1_000, 12_345_678].map(grouped);
        assert_eq!(grouped, ["0", "999", "1,000", "12,345,678"]);
    }

    #[test]
    fn values_stand_below_each_other() {
        let mut report = Report::default();
        report.title("one");
        report.row("a", 1);
        report.row("long", "two");
        assert_eq!(report.to_string(), "\none\n  a     1\n  long  two\n");
    }
}
