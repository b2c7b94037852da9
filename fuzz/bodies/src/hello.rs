//! The handshake: what a peer says of itself before anything is known of it.

use dpfw_protocol::frame::{FrameDecoder, HEADER};
use dpfw_protocol::hello::{Hello, PREFACE};
use dpfw_protocol::limits::MAX_HELLO;
use std::sync::OnceLock;

/// The hello of this side, to agree with.
fn ours() -> &'static Hello {
    static OURS: OnceLock<Hello> = OnceLock::new();
    OURS.get_or_init(|| {
        let bytes = include_bytes!("../../corpus/hello/a_master");
        Hello::from_body(&bytes[PREFACE.len() + HEADER..]).expect("a hello of the corpus")
    })
}

/// The first bytes of a link: preface, frame, hello. What is understood survives the way
/// back, and whether two agree does not depend on who asks.
pub fn body(data: &[u8]) {
    let mut decoder = FrameDecoder::new(MAX_HELLO);
    for chunk in data.chunks(512) {
        let space = decoder.space();
        let n = chunk.len().min(space.len());
        space[..n].copy_from_slice(&chunk[..n]);
        decoder.filled(n);
    }
    if decoder.take(PREFACE.len()).is_none_or(|preface| preface != PREFACE) {
        return;
    }
    let Ok(Some(frame)) = decoder.next_frame() else { return };
    let Ok(hello) = Hello::from_body(frame.body) else { return };
    // What is written names every field, so it may be longer than what was read.
    if let Ok(bytes) = hello.to_bytes() {
        let again = Hello::from_body(&bytes[PREFACE.len() + HEADER..]);
        assert_eq!(again.as_ref(), Ok(&hello), "a hello that does not survive");
    }
    let (mine, theirs) = (ours().agree(&hello), hello.agree(ours()));
    if let (Ok(mine), Ok(theirs)) = (mine, theirs) {
        assert_eq!(mine, theirs, "the two speak different versions");
    }
}
