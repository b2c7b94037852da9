//! Text of guests and peers, made harmless for a terminal.
//!
//! Invariant: what comes out has no control character but the line ends that the caller
//! asked to keep, and nothing that turns the direction of the text around it.

use std::borrow::Cow;

/// Whether a character acts on a terminal, or on how the text around it is shown.
pub(crate) fn acts(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(c, '\u{2066}'..='\u{2069}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

/// One line: line ends as well are written as `\n`.
pub(crate) fn line(text: &str) -> Cow<'_, str> {
    if !text.contains(acts) {
        return Cow::Borrowed(text);
    }
    let escaped = text.chars().fold(String::with_capacity(text.len() + 16), |mut out, c| {
        match acts(c) {
            true => out.extend(c.escape_default()),
            false => out.push(c),
        }
        out
    });
    Cow::Owned(escaped)
}

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
    fn what_acts_on_a_terminal_is_shown_instead() {
        assert_eq!(line("a\u{1b}[31mb\r\n\tc"), r"a\u{1b}[31mb\r\n\tc");
        assert_eq!(line("\u{9b}31m \u{7f} \u{202e}x"), r"\u{9b}31m \u{7f} \u{202e}x");
        assert!(matches!(line("plain, with ä and \u{1f980}"), Cow::Borrowed(_)));
    }

    #[test]
    fn further_lines_are_set_in() {
        assert_eq!(
            lines("one\r\ntwo\n\x1b[2Jerror: three\n"),
            "one\n  two\n  \\u{1b}[2Jerror: three"
        );
    }
}
