//! Words of source text: names as programming languages have them.
//!
//! Invariant: bytes beyond ASCII belong to words, so a word of UTF-8 text is UTF-8.

/// Shorter ones are in every file, and nobody looks for them.
const SHORTEST: usize = 3;

fn is_of_word(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || *byte == b'_' || !byte.is_ascii()
}

/// The words of a text, each with where it begins. Numbers are none.
pub fn words(text: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            let begin = at + text.get(at..)?.iter().position(is_of_word)?;
            let len = text[begin..].iter().position(|byte| !is_of_word(byte));
            at = len.map_or(text.len(), |len| begin + len);
            if at - begin >= SHORTEST && !text[begin].is_ascii_digit() {
                return Some((begin, &text[begin..at]));
            }
        }
    })
}
