//! Texts that came from elsewhere, made fit to be shown.

/// A text without characters that act on a terminal: they are shown, not obeyed. Tabs stay.
/// Cut to `most` bytes.
///
/// ```
/// use dpfw_protocol::text::printable;
///
/// assert_eq!(printable("a\u{1b}[31mb\tc", 100), "a\\u{1b}[31mb\tc");
/// ```
pub fn printable(text: &str, most: usize) -> String {
    let mut out = String::with_capacity(text.len().min(most));
    for c in text.chars() {
        if out.len() + LONGEST > most {
            break;
        }
        match c {
            '\t' => out.push(c),
            c if acts(c) => out.extend(c.escape_default()),
            c => out.push(c),
        }
    }
    out
}

/// The longest escape: `\u{10ffff}`.
const LONGEST: usize = 10;

/// Control characters, and those that change the direction of what follows.
fn acts(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_at_a_character() {
        assert!(printable(&"ä".repeat(100), 50).len() <= 50);
        assert_eq!(printable("\u{202e}abc", 100), "\\u{202e}abc");
    }
}
