//! Texts that came from elsewhere, made fit to be shown.
//!
//! Invariant: what comes out has nothing in it that acts on a terminal or turns the
//! direction of the text around it.

use std::borrow::Cow;

/// Whether a character acts on a terminal, or on how the text around it is shown.
pub fn acts_on_terminal(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(c, '\u{2066}'..='\u{2069}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

/// A text whose characters are shown and not obeyed, line ends among them.
///
/// ```
/// use dpfw_protocol::text::escaped;
///
/// assert_eq!(escaped("a\u{1b}[31mb\n"), r"a\u{1b}[31mb\n");
/// ```
pub fn escaped(text: &str) -> Cow<'_, str> {
    if !text.contains(acts_on_terminal) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    text.chars().for_each(|c| push(&mut out, c));
    Cow::Owned(out)
}

/// The same, cut to `most` bytes. Tabs stay.
pub fn printable(text: &str, most: usize) -> String {
    let mut out = String::with_capacity(text.len().min(most));
    for c in text.chars() {
        if out.len() + LONGEST > most {
            break;
        }
        match c {
            '\t' => out.push(c),
            c => push(&mut out, c),
        }
    }
    out
}

/// The longest escape: `\u{10ffff}`.
const LONGEST: usize = 10;

fn push(out: &mut String, c: char) {
    match acts_on_terminal(c) {
        true => out.extend(c.escape_default()),
        false => out.push(c),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_acts_on_a_terminal_is_shown_instead() {
        assert_eq!(escaped("a\u{1b}[31mb\r\n\tc"), r"a\u{1b}[31mb\r\n\tc");
        assert_eq!(escaped("\u{9b}31m \u{7f} \u{202e}x"), r"\u{9b}31m \u{7f} \u{202e}x");
        assert!(matches!(escaped("plain, with ä and \u{1f980}"), Cow::Borrowed(_)));
    }

    #[test]
    fn texts_are_cut_at_a_character() {
        assert!(printable(&"ä".repeat(100), 50).len() <= 50);
        assert_eq!(printable("\u{202e}a\tb", 100), "\\u{202e}a\tb");
    }
}
