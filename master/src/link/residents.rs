//! What a slave says of residents: it goes to their callers, and the driver does not hear of it.

use super::{Arriving, Reader};
use crate::receipt::Progress;
use dpfw_link::LinkError;
use dpfw_protocol::Bytes;
use dpfw_protocol::error::{Cause, Limit};
use dpfw_protocol::frame::Frame;
use dpfw_protocol::ids::ConversationId;
use dpfw_protocol::limits::MAX_PAYLOAD;
use dpfw_protocol::message::{self, Done, Failed, Log, ResidentReply, decode, kind};

/// Whether a frame was a call's.
#[derive(PartialEq, Eq)]
pub(super) enum Taken {
    Yes,
    No,
}

/// What comes with a resident that is handed over: its arguments, and its state.
const MOST_MOVED: u64 = 2 * MAX_PAYLOAD;

impl Reader {
    /// What a slave says of a call of a resident.
    pub(super) fn called(&mut self, frame: &Frame<'_>, last: bool) -> Result<Taken, LinkError> {
        let conversation = frame.header.conversation;
        let residents = &self.linked.residents;
        match frame.header.kind {
            kind::DONE => {
                let (Done { timing, payload, .. }, inline) = decode(frame)?;
                if last && inline.len() as u64 == payload {
                    // As nearly all are: it is looked up once.
                    if let Some(call) = residents.take(conversation) {
                        if call.is_long() {
                            self.linked.outbox.forget(conversation);
                        }
                        let result = Bytes::copy_from_slice(inline);
                        call.window.answered(&call, Some(timing), Ok(result));
                    }
                    return Ok(Taken::Yes);
                }
                self.unsent(conversation);
                let arriving = Arriving::Called(timing);
                if payload > MAX_PAYLOAD {
                    let cause = Cause::Limit { limit: Limit::Result, allowed: MAX_PAYLOAD };
                    self.refuse(conversation, arriving, cause)?;
                } else {
                    self.begin(conversation, payload, inline, last, arriving)?;
                }
            }
            kind::FAILED => {
                let Failed { timing, failure } = decode(frame)?.0;
                self.unsent(conversation);
                self.arrivals.abandon(conversation);
                self.linked.residents.answered(conversation, timing, Err(failure.into()));
            }
            kind::LOG => {
                let log = decode::<Log>(frame)?.0;
                residents.log(conversation, &self.linked.hello.peer, &log);
            }
            kind::PROGRESS => {
                let message::Progress { done, total } = decode(frame)?.0;
                residents.progress(conversation, Progress { done, total });
            }
            kind::RESIDENT_REPLY => {
                let (reply, inline) = decode::<ResidentReply>(frame)?;
                let (payload, arriving) = (reply.payload, Arriving::Residents(reply));
                if payload > MOST_MOVED {
                    let cause = Cause::Limit { limit: Limit::Result, allowed: MOST_MOVED };
                    self.refuse(conversation, arriving, cause)?;
                } else {
                    self.begin(conversation, payload, inline, last, arriving)?;
                }
            }
            _ => return Ok(Taken::No),
        }
        Ok(Taken::Yes)
    }

    /// What of a call's arguments is not sent yet is not wanted any more. Most had none left.
    fn unsent(&self, conversation: ConversationId) {
        if self.linked.residents.is_long(conversation) {
            self.linked.outbox.forget(conversation);
        }
    }
}
