//! The lines that `exec --each` runs its program for.
//!
//! Owns: cutting standard input at line ends or NULs. Invariant: no more is read than is
//! asked for and a buffer, and a line that is too long is passed over without being held.

use futures_core::Stream;
use std::io;
use tokio::io::{AsyncBufRead, AsyncBufReadExt};

/// The longest line. Linux takes no longer argument either.
pub(super) const LONGEST: usize = 128 << 10;

/// A line of the input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// Counted from 1.
    pub(super) number: u64,
    /// With its end.
    pub(super) bytes: u64,
    /// Without its end; or why it cannot be used.
    pub(super) text: Result<String, String>,
}

/// What ends a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Newline,
    Nul,
}

impl End {
    fn byte(self) -> u8 {
        match self {
            Self::Newline => b'\n',
            Self::Nul => 0,
        }
    }
}

/// The lines of an input; an error ends them.
pub(super) fn lines<R: AsyncBufRead + Unpin>(
    input: R,
    end: End,
) -> impl Stream<Item = io::Result<Line>> {
    futures_util::stream::try_unfold((input, 1), move |(mut input, number)| async move {
        let line = next(&mut input, end.byte(), number).await?;
        Ok(line.map(|line| (line, (input, number + 1))))
    })
}

/// The next line, unless the input is over.
async fn next<R: AsyncBufRead + Unpin>(
    input: &mut R,
    end: u8,
    number: u64,
) -> io::Result<Option<Line>> {
    let (mut text, mut bytes) = (Vec::new(), 0);
    loop {
        let buffer = input.fill_buf().await?;
        if buffer.is_empty() && bytes == 0 {
            return Ok(None);
        }
        let at = buffer.iter().position(|&byte| byte == end);
        let part = &buffer[..at.unwrap_or(buffer.len())];
        if text.len() <= LONGEST {
            // One byte beyond shows that the line is too long.
            text.extend_from_slice(&part[..part.len().min(LONGEST + 1 - text.len())]);
        }
        let taken = part.len() + usize::from(at.is_some());
        let is_over = at.is_some() || buffer.is_empty();
        bytes += taken as u64;
        input.consume(taken);
        if is_over {
            return Ok(Some(Line { number, bytes, text: text_of(text) }));
        }
    }
}

fn text_of(text: Vec<u8>) -> Result<String, String> {
    if text.len() > LONGEST {
        return Err(format!("it is longer than {LONGEST} bytes"));
    }
    String::from_utf8(text).map_err(|e| {
        format!(
            "it is not UTF-8 at byte {}, and arguments have to be",
            e.utf8_error().valid_up_to()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::TryStreamExt;
    use tokio::io::BufReader;

    /// The lines of an input that is read in buffers of that size.
    async fn read(input: &[u8], end: End, buffer: usize) -> Vec<Line> {
        let input = BufReader::with_capacity(buffer, input);
        lines(input, end).try_collect().await.expect("bytes can be read")
    }

    #[tokio::test]
    async fn lines_are_the_same_however_they_are_cut() {
        for buffer in [1, 2, 3, 64] {
            let lines = read(b"one\n\ntwo words\r\nthr\xffee\nlast", End::Newline, buffer).await;
            let texts: Vec<_> = lines.iter().map(|line| line.text.as_deref().ok()).collect();
            assert_eq!(texts, [Some("one"), Some(""), Some("two words\r"), None, Some("last")]);
            let numbers: Vec<_> = lines.iter().map(|line| (line.number, line.bytes)).collect();
            assert_eq!(numbers, [(1, 4), (2, 1), (3, 11), (4, 7), (5, 4)]);
            let lines = read(b"a\nb\0c\0", End::Nul, buffer).await;
            let texts: Vec<_> = lines.into_iter().filter_map(|line| line.text.ok()).collect();
            assert_eq!(texts, ["a\nb", "c"]);
        }
        assert_eq!(read(b"", End::Newline, 64).await, []);
    }

    #[tokio::test]
    async fn a_line_that_is_too_long_is_passed_over() {
        let input = ["x".repeat(LONGEST), "y".repeat(3 * LONGEST), "z".into()].join("\n");
        let lines = read(input.as_bytes(), End::Newline, 4096).await;
        let lengths: Vec<_> =
            lines.iter().map(|line| line.text.as_ref().map(String::len)).collect();
        let refused = Err(&"it is longer than 131072 bytes".to_owned());
        assert_eq!(lengths, [Ok(LONGEST), refused, Ok(1)]);
    }
}
