//! Payloads that arrive in chunks.
//!
//! Owns: the bytes so far, the message they belong to, the credit that was granted.
//! Invariants: nothing is reserved beyond the limits, for one payload and for all of a
//! session together; a sender that exceeds its credit is found out.

use crate::credit;
use crate::ids::ConversationId;
use crate::limits::MAX_ARRIVING;
use crate::recycle::{Arrived, Buffer, Recycler};
use bytes::Bytes;
use std::collections::HashMap;

/// The payloads that are arriving on a link, each with a context: the message that
/// announced it.
#[derive(Debug)]
pub struct Arrivals<T> {
    arriving: HashMap<ConversationId, Arriving<T>>,
    window: u64,
    /// How much of each may be under way, once its window has come.
    depth: u64,
    reserved: u64,
    most_reserved: u64,
    buffers: Recycler,
}

#[derive(Debug)]
struct Arriving<T> {
    bytes: Buffer,
    expected: usize,
    allowance: u64,
    context: T,
}

/// What a frame brought about.
#[derive(Debug, PartialEq, Eq)]
pub enum Step<T> {
    /// The payload is complete.
    Complete(T, Arrived),
    /// More is to come; grant this credit, if any.
    More(Option<u64>),
    /// The chunk belongs to nothing that is arriving: its payload was refused or
    /// abandoned while the chunk was under way.
    Stray,
}

/// A payload cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ArrivalError<T> {
    /// There is no room now; the context comes back.
    #[error("no room for another payload")]
    NoRoom(T),
    /// The sender broke the rules: the link cannot go on.
    #[error("conversation {conversation}: {what}")]
    Broken {
        /// Whose payload.
        conversation: ConversationId,
        /// Which rule.
        what: &'static str,
    },
}

impl<T> Arrivals<T> {
    /// Takes payloads with `window` bytes of credit each and `most` bytes in all. The links
    /// of a process share `buffers`, so that idle ones do not keep one each.
    pub fn new(window: u64, most: u64, buffers: Recycler) -> Self {
        let arriving = HashMap::new();
        Self { arriving, window, depth: window, reserved: 0, most_reserved: most, buffers }
    }

    /// From now on `depth` bytes of each payload are to be under way; see [`credit`].
    pub fn set_depth(&mut self, depth: u64) {
        self.depth = depth.min(self.window);
    }

    /// A message announces a payload of `expected` bytes, of which `inline` came with it.
    /// The caller has held `expected` against the limit for this kind of payload.
    ///
    /// # Errors
    /// [`ArrivalError`]; on [`ArrivalError::NoRoom`] the chunks that follow are strays.
    pub fn begin(
        &mut self,
        conversation: ConversationId,
        expected: u64,
        inline: &[u8],
        last: bool,
        context: T,
    ) -> Result<Step<T>, ArrivalError<T>> {
        let broken = |what| ArrivalError::Broken { conversation, what };
        if last {
            return match inline.len() as u64 == expected {
                true => Ok(Step::Complete(context, Bytes::copy_from_slice(inline).into())),
                false => Err(broken("a payload has another length than announced")),
            };
        }
        if !inline.is_empty() || expected == 0 {
            return Err(broken("a payload is neither inline nor in chunks"));
        }
        if self.arriving.contains_key(&conversation) {
            return Err(broken("a second payload begins within the first"));
        }
        let room = self.reserved.checked_add(expected).is_some_and(|r| r <= self.most_reserved);
        let Ok(expected) = usize::try_from(expected) else {
            return Err(ArrivalError::NoRoom(context));
        };
        if !room || self.arriving.len() >= MAX_ARRIVING {
            return Err(ArrivalError::NoRoom(context));
        }
        let Ok(bytes) = self.buffers.take(expected) else {
            return Err(ArrivalError::NoRoom(context));
        };
        self.reserved += expected as u64;
        let arriving = Arriving { bytes, expected, allowance: self.window, context };
        self.arriving.insert(conversation, arriving);
        Ok(Step::More(None))
    }

    /// A chunk has arrived.
    ///
    /// # Errors
    /// [`ArrivalError::Broken`] if it exceeds the credit or the announced length.
    pub fn chunk(
        &mut self,
        conversation: ConversationId,
        body: &[u8],
        last: bool,
    ) -> Result<Step<T>, ArrivalError<T>> {
        let Some(room) = self.room(conversation, body.len())? else {
            return Ok(Step::Stray);
        };
        room.extend_from_slice(body);
        self.appended(conversation, body.len(), last)
    }

    /// Where `len` bytes of a chunk are to be appended, followed by
    /// [`appended`](Self::appended): so that they can be read right into their payload.
    /// `None` if nobody wants them. The room is there; the buffer need not grow.
    ///
    /// # Errors
    /// [`ArrivalError::Broken`] if they exceed the credit or the announced length.
    pub fn room(
        &mut self,
        conversation: ConversationId,
        len: usize,
    ) -> Result<Option<&mut Vec<u8>>, ArrivalError<T>> {
        let broken = |what| ArrivalError::Broken { conversation, what };
        let Some(arriving) = self.arriving.get_mut(&conversation) else {
            return Ok(None);
        };
        if len == 0 {
            return Err(broken("an empty chunk"));
        }
        if len as u64 > arriving.allowance {
            return Err(broken("more bytes than were granted"));
        }
        if arriving.bytes.len() + len > arriving.expected {
            return Err(broken("more bytes than were announced"));
        }
        Ok(Some(arriving.bytes.bytes()))
    }

    /// `len` bytes were appended to what [`room`](Self::room) gave; `last` if they end the
    /// payload's last chunk.
    ///
    /// # Errors
    /// [`ArrivalError::Broken`] if the payload has another length than announced.
    pub fn appended(
        &mut self,
        conversation: ConversationId,
        len: usize,
        last: bool,
    ) -> Result<Step<T>, ArrivalError<T>> {
        let Some(arriving) = self.arriving.get_mut(&conversation) else {
            return Ok(Step::Stray);
        };
        let len = len as u64;
        arriving.allowance = arriving.allowance.saturating_sub(len);
        if last != (arriving.bytes.len() == arriving.expected) {
            let what = "a payload has another length than announced";
            return Err(ArrivalError::Broken { conversation, what });
        }
        if !last {
            return Ok(Step::More(arriving.grant(self.depth)));
        }
        match self.remove(conversation) {
            Some(done) => Ok(Step::Complete(done.context, self.buffers.finish(done.bytes))),
            None => Ok(Step::Stray),
        }
    }

    /// The conversations whose payloads are arriving, in no order.
    pub fn conversations(&self) -> impl Iterator<Item = ConversationId> + '_ {
        self.arriving.keys().copied()
    }

    /// Whether a conversation's payload is arriving.
    pub fn has(&self, conversation: ConversationId) -> bool {
        self.arriving.contains_key(&conversation)
    }

    /// Forgets a payload: its sender gave up, or nobody wants it any more.
    pub fn abandon(&mut self, conversation: ConversationId) -> Option<T> {
        self.remove(conversation).map(|arriving| arriving.context)
    }

    fn remove(&mut self, conversation: ConversationId) -> Option<Arriving<T>> {
        let arriving = self.arriving.remove(&conversation)?;
        self.reserved -= arriving.expected as u64;
        Some(arriving)
    }

    /// Ends all, and gives their contexts.
    pub fn drain(&mut self) -> impl Iterator<Item = T> + '_ {
        self.reserved = 0;
        self.arriving.drain().map(|(_, arriving)| arriving.context)
    }
}

impl<T> Arriving<T> {
    /// Grants what is missing to what may be under way, if it is worth a frame.
    fn grant(&mut self, depth: u64) -> Option<u64> {
        // Its room is reserved.
        let bytes = credit::grant(self.allowance, depth, u64::MAX);
        self.allowance += bytes;
        (bytes > 0).then_some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credit::LEAST;
    use crate::limits::{CHUNK, GRANT};

    const ID: ConversationId = ConversationId(7);

    fn arrivals() -> Arrivals<&'static str> {
        Arrivals::new(2 * GRANT, 100 * GRANT, Recycler::default())
    }

    #[test]
    fn a_payload_arrives_and_credit_is_granted_as_it_does() {
        let mut arrivals = arrivals();
        let total = 3 * GRANT as usize;
        let begun = arrivals.begin(ID, total as u64, &[], false, "args");
        assert_eq!(begun, Ok(Step::More(None)));
        let (mut granted, mut sent) = (0, 0);
        loop {
            sent += CHUNK;
            match arrivals.chunk(ID, &[1; CHUNK], sent == total).expect("in order") {
                Step::More(grant) => granted += grant.unwrap_or(0),
                Step::Complete(context, bytes) => {
                    assert_eq!((context, bytes.len()), ("args", total));
                    break;
                }
                Step::Stray => panic!("it is arriving"),
            }
        }
        assert_eq!(granted, 5 * GRANT / 2, "as much as has come, but for the last quarter");
        assert_eq!(arrivals.reserved, 0);
    }

    #[test]
    fn no_more_is_granted_than_the_link_needs_once_the_first_window_has_come() {
        let mut arrivals = arrivals();
        arrivals.set_depth(LEAST);
        arrivals.begin(ID, 90 * GRANT, &[], false, "args").expect("begins");
        let mut allowed = 2 * GRANT;
        for _ in 0..40 * GRANT as usize / CHUNK {
            allowed -= CHUNK as u64;
            match arrivals.chunk(ID, &[1; CHUNK], false).expect("it was granted") {
                Step::More(grant) => allowed += grant.unwrap_or(0),
                step => panic!("{step:?}"),
            }
        }
        assert!(allowed > 0 && allowed <= LEAST, "{allowed}");
        arrivals.set_depth(u64::MAX);
        let step = arrivals.chunk(ID, &[1], false);
        let Ok(Step::More(Some(grant))) = step else { panic!("{step:?}") };
        assert!(allowed + grant <= 2 * GRANT, "never more than a window");
    }

    #[test]
    fn a_sender_that_breaks_the_rules_is_found_out() {
        let broken = |outcome| matches!(outcome, Err(ArrivalError::Broken { .. }));
        assert!(broken(arrivals().begin(ID, 3, b"xx", true, "short")));
        assert!(broken(arrivals().begin(ID, 0, b"", false, "nothing")));

        let mut long = arrivals();
        long.begin(ID, 3, &[], false, "long").expect("begins");
        assert!(broken(long.chunk(ID, b"four", true)));

        let mut greedy = arrivals();
        greedy.begin(ID, 10 * GRANT, &[], false, "greedy").expect("begins");
        assert!(broken(greedy.chunk(ID, &vec![0; 2 * GRANT as usize + 1], false)));
        assert!(broken(greedy.chunk(ID, &[], false)));
    }

    #[test]
    fn a_chunk_may_be_appended_in_parts() {
        let mut arrivals = arrivals();
        arrivals.begin(ID, 10, &[], false, "parts").expect("begins");
        assert_eq!(arrivals.room(ConversationId(8), 3), Ok(None));
        for (part, last) in [(&b"0123"[..], false), (b"456789", true)] {
            let room = arrivals.room(ID, 6.min(part.len())).expect("granted").expect("wanted");
            room.extend_from_slice(part);
            match arrivals.appended(ID, part.len(), last).expect("in order") {
                Step::Complete(context, bytes) => {
                    assert!(last);
                    assert_eq!((context, &bytes[..]), ("parts", &b"0123456789"[..]));
                }
                step => assert_eq!((step, last), (Step::More(None), false)),
            }
        }
        arrivals.begin(ID, 10, &[], false, "long").expect("begins");
        assert!(matches!(arrivals.room(ID, 11), Err(ArrivalError::Broken { .. })));
    }

    #[test]
    fn what_is_announced_is_bounded_in_all() {
        let mut arrivals = arrivals();
        arrivals.begin(ID, 99 * GRANT, &[], false, "first").expect("begins");
        let second = arrivals.begin(ConversationId(8), 2 * GRANT, &[], false, "second");
        assert_eq!(second, Err(ArrivalError::NoRoom("second")));
        assert_eq!(arrivals.chunk(ConversationId(8), b"x", true), Ok(Step::Stray));
        assert_eq!(arrivals.abandon(ID), Some("first"));
        assert!(arrivals.begin(ID, 99 * GRANT, &[], false, "again").is_ok());
    }
}
