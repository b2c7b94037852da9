//! Frames out of a stream of bytes, however it is cut into reads.

use crate::number;
use dpfw_protocol::frame::{FrameDecoder, FrameError, HEADER, Header};

/// Small enough that bytes that a fuzzer makes reach it.
const MOST: usize = 4096;

/// What comes of a stream, and how many bytes were taken for it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Cut {
    frames: Vec<(Header, Vec<u8>)>,
    taken: usize,
    error: Option<FrameError>,
}

/// The first byte says how the rest is cut into reads: the frames are the same as in one read,
/// and their bytes are those of the stream.
pub fn body(data: &[u8]) {
    let mut data = data;
    let step = usize::from(number(&mut data)) + 1;
    let whole = cut(data, data.len().max(1));
    assert_eq!(cut(data, step), whole, "reads of {step} bytes make other frames");
    let again: Vec<u8> = whole
        .frames
        .iter()
        .flat_map(|(header, body)| [&header.to_bytes()[..], body].concat())
        .collect();
    assert_eq!(again, data[..whole.taken], "frames have other bytes than the stream");
    assert!(whole.frames.iter().all(|(header, body)| header.len as usize == body.len()));
}

fn cut(mut rest: &[u8], step: usize) -> Cut {
    let (mut decoder, mut cut) = (FrameDecoder::new(MOST), Cut::default());
    loop {
        match decoder.next_frame() {
            Ok(Some(frame)) => {
                cut.taken += HEADER + frame.body.len();
                cut.frames.push((frame.header, frame.body.to_vec()));
                continue;
            }
            Ok(None) => {}
            Err(error) => {
                cut.error = Some(error);
                return cut;
            }
        }
        if rest.is_empty() {
            assert!(decoder.buffered() < HEADER + MOST, "a whole frame is left");
            return cut;
        }
        let space = decoder.space();
        let n = step.min(space.len()).min(rest.len());
        space[..n].copy_from_slice(&rest[..n]);
        rest = &rest[n..];
        decoder.filled(n);
    }
}
