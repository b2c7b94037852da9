//! What arrives on a simulated link, decoded as the real ends decode it.
//!
//! Owns: the frames' decoder and the payloads that arrive. Does not: know who speaks: both
//! directions have one type, and whoever hears what is not for it panics.

use dpfw_protocol::Bytes;
use dpfw_protocol::attempts::AttemptSet;
use dpfw_protocol::error::Cause;
use dpfw_protocol::frame::{END, Frame, FrameDecoder};
use dpfw_protocol::ids::{AttemptId, ConversationId};
use dpfw_protocol::limits::{MAX_BODY, MAX_PAYLOAD, WINDOW};
use dpfw_protocol::message::{
    Abandon, Bind, Close, Credit, Dispatch, Done, Failed, Locate, Located, Message, Recall,
    Reserve, Reserved, Returned, Started, Status, Timing, Waiting, decode, kind,
};
use dpfw_protocol::receive::{Arrivals, Step};
use dpfw_protocol::recycle::Recycler;
use dpfw_protocol::store::Key;

/// What one end said.
#[derive(Debug)]
pub(crate) enum Said {
    Bind(Bind),
    /// The arguments of a dispatch follow.
    Announced(AttemptId),
    Dispatch(AttemptId, Dispatch, Bytes),
    Cancel(AttemptId),
    Recall(Vec<AttemptId>),
    Reserve(ConversationId, bool),
    Release,
    Locate(ConversationId, Vec<Key>),
    Located(ConversationId, Vec<bool>),
    Started(Vec<AttemptId>),
    Waiting(Vec<AttemptId>),
    Done(AttemptId, Timing, Bytes),
    Failed(AttemptId, Cause),
    Returned(Vec<AttemptId>),
    Reserved(ConversationId, bool),
    /// How a slave stands, and all that it holds: what has ended there is not over while
    /// its result is arriving.
    Status(Status, Vec<AttemptId>),
    Draining,
    /// The peer allows a payload more bytes.
    Credit(ConversationId, u64),
    /// The peer is to be allowed more bytes.
    Grant(ConversationId, u64),
    Close(u16),
}

#[derive(Debug)]
enum Announced {
    Args(Dispatch),
    Result(Timing),
}

/// One direction's receiving end.
#[derive(Debug)]
pub(crate) struct Reader {
    decoder: FrameDecoder,
    arrivals: Arrivals<Announced>,
}

impl Reader {
    pub(crate) fn new() -> Self {
        let arrivals = Arrivals::new(WINDOW, MAX_PAYLOAD, Recycler::default());
        Self { decoder: FrameDecoder::new(MAX_BODY), arrivals }
    }

    /// Takes bytes in; what they complete is appended.
    pub(crate) fn feed(&mut self, mut bytes: &[u8], out: &mut Vec<Said>) -> Result<(), String> {
        while !bytes.is_empty() {
            let space = self.decoder.space();
            let n = space.len().min(bytes.len());
            space[..n].copy_from_slice(&bytes[..n]);
            self.decoder.filled(n);
            bytes = &bytes[n..];
            loop {
                let frame = self.decoder.next_frame().map_err(|e| e.to_string())?;
                let Some(frame) = frame else { break };
                out.extend(handle(&mut self.arrivals, &frame)?);
            }
        }
        Ok(())
    }

    /// What of a payload is still to come is not wanted.
    pub(crate) fn abandon(&mut self, conversation: ConversationId) {
        self.arrivals.abandon(conversation);
    }
}

fn handle(arrivals: &mut Arrivals<Announced>, frame: &Frame<'_>) -> Result<Option<Said>, String> {
    fn of<M: Message>(frame: &Frame<'_>) -> Result<M, String> {
        decode(frame).map(|(message, _)| message).map_err(|e| e.to_string())
    }
    let conversation = frame.header.conversation;
    let (attempt, last) = (conversation.attempt(), frame.header.flags & END != 0);
    let begin = |arrivals: &mut Arrivals<_>, payload, inline: &[u8], what| {
        arrived(conversation, arrivals.begin(conversation, payload, inline, last, what))
    };
    let said = match frame.header.kind {
        kind::DISPATCH => {
            let (dispatch, inline) = decode::<Dispatch>(frame).map_err(|e| e.to_string())?;
            let begun = begin(arrivals, dispatch.payload, inline, Announced::Args(dispatch))?;
            return Ok(Some(begun.unwrap_or(Said::Announced(attempt))));
        }
        kind::DONE => {
            let (Done { timing, payload, .. }, inline) =
                decode(frame).map_err(|e| e.to_string())?;
            return begin(arrivals, payload, inline, Announced::Result(timing));
        }
        kind::CHUNK => {
            return arrived(conversation, arrivals.chunk(conversation, frame.body, last));
        }
        kind::ABANDON => {
            of::<Abandon>(frame)?;
            arrivals.abandon(conversation);
            return Ok(None);
        }
        kind::HEARTBEAT => return Ok(None),
        kind::BIND => Said::Bind(of(frame)?),
        kind::CANCEL => Said::Cancel(attempt),
        kind::RECALL => Said::Recall(of::<Recall>(frame)?.attempts),
        kind::RESERVE => Said::Reserve(conversation, of::<Reserve>(frame)?.wait),
        kind::RELEASE => Said::Release,
        kind::LOCATE => Said::Locate(conversation, of::<Locate>(frame)?.keys),
        kind::LOCATED => Said::Located(conversation, of::<Located>(frame)?.held),
        kind::STARTED => Said::Started(of::<Started>(frame)?.attempts),
        kind::WAITING => Said::Waiting(of::<Waiting>(frame)?.attempts),
        kind::FAILED => Said::Failed(attempt, of::<Failed>(frame)?.failure.into()),
        kind::RETURNED => Said::Returned(of::<Returned>(frame)?.attempts),
        kind::RESERVED => Said::Reserved(conversation, of::<Reserved>(frame)?.granted),
        kind::STATUS => {
            let status: Status = of(frame)?;
            let arriving = arrivals.conversations().map(ConversationId::attempt);
            let arriving = arriving.filter(|attempt| *attempt <= status.upto);
            let told = [&status.attempts, &status.others].map(AttemptSet::as_slice).concat();
            let held: AttemptSet = told.into_iter().chain(arriving).collect();
            Said::Status(status, held.into_vec())
        }
        kind::DRAINING => Said::Draining,
        kind::CREDIT => Said::Credit(conversation, of::<Credit>(frame)?.bytes),
        kind::CLOSE => Said::Close(of::<Close>(frame)?.code),
        kind => return Err(format!("a frame of kind {kind}")),
    };
    Ok(Some(said))
}

fn arrived<E: ToString>(
    conversation: ConversationId,
    step: Result<Step<Announced>, E>,
) -> Result<Option<Said>, String> {
    let attempt = conversation.attempt();
    Ok(match step.map_err(|e| e.to_string())? {
        Step::Complete(Announced::Args(dispatch), args) => {
            Some(Said::Dispatch(attempt, dispatch, args.into_bytes()))
        }
        Step::Complete(Announced::Result(timing), bytes) => {
            Some(Said::Done(attempt, timing, bytes.into_bytes()))
        }
        Step::More(Some(bytes)) => Some(Said::Grant(conversation, bytes)),
        Step::More(None) | Step::Stray => None,
    })
}
