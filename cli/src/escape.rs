//! Text of guests and peers, made harmless for a terminal.
//!
//! Invariant: what comes out has no control character but the line ends that the caller
//! asked to keep, and nothing that turns the direction of the text around it.

pub(crate) use dpfw::{acts_on_terminal as acts, escaped as line};

/// Several lines: those after the first are set in, so that none of them can be taken for
/// one of the program's own.
pub(crate) fn lines(text: &str) -> String {
    let text = text.trim_end();
    let lines: Vec<_> = text.split('\n').map(|l| line(l.trim_end_matches('\r'))).collect();
    lines.join("\n  ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn further_lines_are_set_in() {
        assert_eq!(
            lines("one\r\ntwo\n\x1b[2Jerror: three\n"),
            "one\n  two\n  \\u{1b}[2Jerror: three"
        );
    }
}
