//! Words of any text, identifiers of Rust code.
//!
//! Owns: where they begin and end. Does not: check the code; anything is scanned to its end.
//! Invariant: bytes beyond ASCII are letters, so that no character is cut in two.

/// Words that Rust keeps for itself.
const KEYWORDS: &[&[u8]] = &[
    b"as",
    b"async",
    b"await",
    b"break",
    b"const",
    b"continue",
    b"crate",
    b"dyn",
    b"else",
    b"enum",
    b"extern",
    b"false",
    b"fn",
    b"for",
    b"if",
    b"impl",
    b"in",
    b"let",
    b"loop",
    b"match",
    b"mod",
    b"move",
    b"mut",
    b"pub",
    b"ref",
    b"return",
    b"self",
    b"Self",
    b"static",
    b"struct",
    b"super",
    b"trait",
    b"true",
    b"type",
    b"unsafe",
    b"use",
    b"where",
    b"while",
];

/// The runs of letters and digits in a text.
pub(crate) fn words(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|b| b.is_ascii() && !b.is_ascii_alphanumeric()).filter(|word| !word.is_empty())
}

/// The identifiers of Rust code, but for keywords and those in comments and strings.
pub(crate) fn identifiers(text: &[u8]) -> Identifiers<'_> {
    Identifiers { rest: text }
}

/// See [`identifiers`].
#[derive(Debug)]
pub(crate) struct Identifiers<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Identifiers<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        loop {
            match self.rest {
                [] => return None,
                [b'/', b'/', ..] => self.skip_line(),
                [b'/', b'*', ..] => self.skip_comment(),
                [b'"', ..] => self.skip_string(),
                [b'\'', ..] => self.skip_character(),
                // A number, with its letters.
                [b'0'..=b'9', ..] => drop(self.take_name()),
                [first, ..] if is_letter(*first) => {
                    let name = self.take_name();
                    if let Some(name) = self.judge(name) {
                        return Some(name);
                    }
                }
                [_, ..] => self.skip(1),
            }
        }
    }
}

impl<'a> Identifiers<'a> {
    fn skip(&mut self, bytes: usize) {
        self.rest = self.rest.get(bytes..).unwrap_or_default();
    }

    fn take_name(&mut self) -> &'a [u8] {
        let is_end = |b: &u8| !(is_letter(*b) || b.is_ascii_digit());
        let end = self.rest.iter().position(is_end).unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at(end);
        self.rest = rest;
        name
    }

    /// The identifier that a name is; none if it is a keyword, `_`, or a literal's prefix,
    /// which the literal then follows.
    fn judge(&mut self, name: &'a [u8]) -> Option<&'a [u8]> {
        match (name, self.rest) {
            (b"r" | b"br" | b"cr", [b'"' | b'#', ..]) => self.take_raw(name),
            (b"_", _) => None,
            _ if KEYWORDS.contains(&name) => None,
            // `b"` and `b'`: the literal is skipped next.
            (b"b" | b"c", [b'"', ..]) | (b"b", [b'\'', ..]) => None,
            _ => Some(name),
        }
    }

    /// Skips a raw string behind its prefix, or takes a raw identifier.
    fn take_raw(&mut self, prefix: &'a [u8]) -> Option<&'a [u8]> {
        let hashes = self.rest.iter().take_while(|b| **b == b'#').count();
        match self.rest.get(hashes) {
            Some(b'"') => {
                let end = [b"\"".as_slice(), &self.rest[..hashes]].concat();
                let from = hashes + 1;
                let found = self.rest[from..].windows(end.len()).position(|w| w == end);
                self.skip(found.map_or(self.rest.len(), |at| from + at + end.len()));
                None
            }
            Some(first) if hashes == 1 && prefix == b"r" && is_letter(*first) => {
                self.skip(1);
                Some(self.take_name())
            }
            _ => Some(prefix),
        }
    }

    fn skip_line(&mut self) {
        let end = self.rest.iter().position(|b| *b == b'\n');
        self.skip(end.unwrap_or(self.rest.len()));
    }

    /// Comments nest.
    fn skip_comment(&mut self) {
        let mut depth = 0_usize;
        loop {
            match self.rest {
                [] => return,
                [b'/', b'*', ..] => {
                    depth += 1;
                    self.skip(2);
                }
                [b'*', b'/', ..] => {
                    depth -= 1;
                    self.skip(2);
                    if depth == 0 {
                        return;
                    }
                }
                [_, ..] => self.skip(1),
            }
        }
    }

    fn skip_string(&mut self) {
        self.skip(1);
        loop {
            match self.rest {
                [] => return,
                [b'\\', ..] => self.skip(2),
                [b'"', ..] => return self.skip(1),
                [_, ..] => self.skip(1),
            }
        }
    }

    /// A character, or a lifetime, whose name is not an identifier here.
    fn skip_character(&mut self) {
        self.skip(1);
        match self.rest {
            [b'\\', ..] => {
                self.skip(2);
                let end = self.rest.iter().position(|b| matches!(b, b'\'' | b'\n'));
                self.skip(end.map_or(self.rest.len(), |at| at + 1));
            }
            [first, ..] => {
                let length = utf8_length(*first);
                match self.rest.get(length) {
                    Some(b'\'') => self.skip(length + 1),
                    _ => drop(self.take_name()),
                }
            }
            [] => {}
        }
    }
}

fn is_letter(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || !byte.is_ascii()
}

/// How many bytes a character has that begins with this one.
fn utf8_length(first: u8) -> usize {
    match first {
        0xc0..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xff => 4,
        _ => 1,
    }
}
