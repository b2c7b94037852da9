//! A table for people: columns as wide as what is in them, two spaces between.

use std::fmt::Write as _;

/// How a column stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Right,
}

/// A table; the first row is the head. Cells are escaped already. The last cell of a row
/// that is shorter than the head is as wide as it likes.
pub(crate) fn table(columns: &[Align], rows: &[Vec<String>]) -> String {
    let width = |cell: &String| cell.chars().count();
    let widths: Vec<usize> = (0..columns.len())
        .map(|n| {
            let counts = |row: &&Vec<String>| row.len() == columns.len() || n + 1 < row.len();
            let cells = rows.iter().filter(counts).filter_map(|row| row.get(n));
            cells.map(width).max().unwrap_or(0)
        })
        .collect();
    let mut out = String::new();
    for row in rows {
        let mut line = String::new();
        for (n, cell) in row.iter().enumerate() {
            let gap = if n == 0 { "" } else { "  " };
            let width = widths.get(n).copied().unwrap_or(0);
            // Writing to a text cannot fail.
            let _ = match columns.get(n) {
                Some(Align::Right) => write!(line, "{gap}{cell:>width$}"),
                _ => write!(line, "{gap}{cell:<width$}"),
            };
        }
        out += line.trim_end();
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_what_is_in_them() {
        let rows = [vec!["NAME", "N"], vec!["länger", "1000"], vec!["a"], vec!["why it is not"]];
        let rows = rows.map(|row| row.into_iter().map(String::from).collect());
        insta::assert_snapshot!(table(&[Align::Left, Align::Right], &rows), @r"
        NAME       N
        länger  1000
        a
        why it is not
        ");
    }
}
