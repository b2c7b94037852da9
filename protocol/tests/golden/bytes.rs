//! Golden bytes: how they are written down, and what is held against them.

use dpfw_protocol::frame::{END, Frame, HEADER, Header};
use dpfw_protocol::ids::ConversationId;
use dpfw_protocol::message::{self, Message, MessageError};
use std::fmt::Debug;

/// Decodes a frame and holds it against a value.
pub(crate) type IsValue = Box<dyn Fn(&Frame<'_>) -> Result<bool, MessageError>>;

/// What a frame carries, and the bytes that it has to have.
pub(crate) struct Golden {
    pub(crate) name: &'static str,
    pub(crate) kind: u8,
    /// As written down.
    pub(crate) bytes: Vec<u8>,
    /// As this crate writes it now.
    pub(crate) encoded: Vec<u8>,
    /// Decodes a frame and says whether it is the value.
    pub(crate) is_value: IsValue,
}

/// Bytes written as hexadecimal digits; white space and what follows a `#` is left out.
pub(crate) fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .lines()
        .flat_map(|line| line.split('#').next().unwrap_or("").bytes())
        .filter(|b| !b.is_ascii_whitespace())
        .collect();
    let digit = |b: u8| char::from(b).to_digit(16).expect("a hexadecimal digit") as u8;
    let (pairs, odd) = digits.as_chunks::<2>();
    assert!(odd.is_empty(), "half a byte in {text}");
    pairs.iter().map(|[high, low]| digit(*high) << 4 | digit(*low)).collect()
}

/// The frame at the beginning of bytes, whose length its header gives.
pub(crate) fn frame(bytes: &[u8]) -> Frame<'_> {
    let (header, body) = bytes.split_first_chunk::<HEADER>().expect("a header");
    let header = Header::from_bytes(*header).expect("no reserved bits");
    assert_eq!(header.len as usize, body.len(), "the header's length is not the body's");
    Frame { header, body }
}

/// The frame that a message and a payload make.
pub(crate) fn encode<M: Message>(
    conversation: u64,
    message: &M,
    payload: &[u8],
    last: bool,
) -> Vec<u8> {
    let mut out = Vec::new();
    message::encode(&mut out, ConversationId(conversation), message, payload, last)
        .expect("fits a frame");
    out
}

/// A golden frame of a message, whose payload is complete.
pub(crate) fn golden<M>(
    name: &'static str,
    conversation: u64,
    message: M,
    payload: &'static [u8],
    text: &str,
) -> Golden
where
    M: Message + PartialEq + Debug + 'static,
{
    with_flags(name, conversation, message, payload, true, text)
}

/// A golden frame of a message whose payload follows in chunks.
pub(crate) fn golden_begun<M>(
    name: &'static str,
    conversation: u64,
    message: M,
    text: &str,
) -> Golden
where
    M: Message + PartialEq + Debug + 'static,
{
    with_flags(name, conversation, message, b"", false, text)
}

fn with_flags<M>(
    name: &'static str,
    conversation: u64,
    message: M,
    payload: &'static [u8],
    last: bool,
    text: &str,
) -> Golden
where
    M: Message + PartialEq + Debug + 'static,
{
    let encoded = encode(conversation, &message, payload, last);
    let is_value = move |frame: &Frame<'_>| {
        let (decoded, behind) = message::decode::<M>(frame)?;
        let same_header = frame.header.conversation.0 == conversation
            && frame.header.kind == M::KIND
            && (frame.header.flags == END) == last;
        Ok(same_header && decoded == message && behind == payload)
    };
    Golden { name, kind: M::KIND, bytes: hex(text), encoded, is_value: Box::new(is_value) }
}
