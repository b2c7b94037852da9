//! What a slave and a process that compiles say to one another: one order, one answer.
//!
//! Each is the length of a head (4 bytes, little-endian), the head, the length of what follows
//! (8 bytes), and that: the wasm, or the code. Both sides are one program, so there is no version;
//! the order has the configuration, and the answer to another one is a refusal. Invariant: nothing
//! is allocated for a length that was announced before that was held against a limit.

use super::make::Make;
use crate::limits::Limits;
use dpfw_protocol::error::Failure;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::io::{self, Read, Write};

/// What is to be done with the wasm behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Order {
    pub(super) configuration: u64,
    pub(super) limits: Limits,
    pub(super) make: Make,
}

/// What came of it, with the code behind it.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Answer {
    /// The code; and why it is not warmed, if it cannot be.
    Made { cold: Option<String> },
    /// Why there is none.
    Refused(Failure),
}

/// Bytes of a head: a failure's texts, and its list.
const MOST_HEAD: u64 = 1 << 20;

pub(super) fn write(to: &mut impl Write, head: &impl Serialize, body: &[u8]) -> io::Result<()> {
    let head = rmp_serde::to_vec(head).map_err(io::Error::other)?;
    let len = u32::try_from(head.len()).map_err(io::Error::other)?;
    to.write_all(&len.to_le_bytes())?;
    to.write_all(&head)?;
    to.write_all(&(body.len() as u64).to_le_bytes())?;
    to.write_all(body)?;
    to.flush()
}

/// Reads what [`write`] wrote, with a body of so many bytes at most.
pub(super) fn read<T: DeserializeOwned>(
    from: &mut impl Read,
    most: u64,
) -> io::Result<(T, Vec<u8>)> {
    let mut len = [0; 4];
    from.read_exact(&mut len)?;
    let head = exactly(from, u32::from_le_bytes(len).into(), MOST_HEAD)?;
    let head = rmp_serde::from_slice(&head).map_err(io::Error::other)?;
    let mut len = [0; 8];
    from.read_exact(&mut len)?;
    Ok((head, exactly(from, u64::from_le_bytes(len), most)?))
}

/// So many bytes. What is allocated grows with what arrives, not with what was announced.
fn exactly(from: &mut impl Read, len: u64, most: u64) -> io::Result<Vec<u8>> {
    if len > most {
        return Err(io::Error::other(format!("{len} bytes were announced, {most} are allowed")));
    }
    let mut bytes = Vec::new();
    match from.take(len).read_to_end(&mut bytes)? as u64 == len {
        true => Ok(bytes),
        false => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_what_is_cut_off_or_too_long_is_not() {
        let answer = Answer::Made { cold: Some("it reads a clock".into()) };
        let mut bytes = Vec::new();
        write(&mut bytes, &answer, b"code").expect("memory");
        assert_eq!(read(&mut &bytes[..], 4).expect("whole"), (answer, b"code".to_vec()));
        assert!(read::<Answer>(&mut &bytes[..], 3).is_err());
        for len in 0..bytes.len() {
            assert!(read::<Answer>(&mut &bytes[..len], 4).is_err(), "of {len} bytes");
        }
        // A head, and a body, of more than there is memory.
        assert!(read::<Answer>(&mut &[0xff; 64][..], 4).is_err());
        let at = bytes.len() - 12;
        bytes[at..at + 8].fill(0xff);
        assert!(read::<Answer>(&mut &bytes[..], u64::MAX).is_err());
    }
}
