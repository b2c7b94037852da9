//! Messages of every kind, and what is within payloads: batches and their outcomes.

use crate::number;
use dpfw_protocol::batch;
use dpfw_protocol::changes::{Changed, Unwatch, Watch};
use dpfw_protocol::error::{Cause, Failure};
use dpfw_protocol::frame::{END, Frame, HEADER, Header};
use dpfw_protocol::ids::ConversationId;
use dpfw_protocol::limits::MAX_BODY;
use dpfw_protocol::message::{
    Abandon, Bind, Cancel, Close, Credit, Describe, Description, Dispatch, Done, Drain, Draining,
    Failed, Heartbeat, Loading, Locate, Located, Log, Message, ModuleBytes, NeedModule, Progress,
    Queued, Recall, Release, Reserve, Reserved, Returned, Started, Status, StoreReply,
    StoreRequest, Waiting, decode, encode,
};
use dpfw_protocol::program::Invocation;
use std::fmt::Debug;

/// Kinds that are no message's own, and choose something else to be read.
const BATCH: u8 = 250;
const OUTCOMES: u8 = 251;
const INVOCATION: u8 = 252;

/// The first byte is the frame's kind, the rest its body. What is understood survives the way
/// back to bytes.
pub fn body(data: &[u8]) {
    let mut data = data;
    let kind = number(&mut data);
    macro_rules! by_kind {
        ($($message:ident),* $(,)?) => {
            match kind {
                BATCH => calls(data),
                OUTCOMES => outcomes(data),
                INVOCATION => drop(Invocation::decode(data)),
                $(<$message as Message>::KIND => survives::<$message>(data),)*
                _ => {}
            }
        };
    }
    by_kind![
        Abandon,
        Bind,
        Cancel,
        Close,
        Credit,
        Describe,
        Description,
        Dispatch,
        Done,
        Drain,
        Draining,
        Failed,
        Heartbeat,
        Log,
        ModuleBytes,
        NeedModule,
        Progress,
        Recall,
        Release,
        Reserve,
        Reserved,
        Returned,
        Started,
        Status,
        StoreReply,
        StoreRequest,
        Watch,
        Unwatch,
        Changed,
        Waiting,
        Loading,
        Queued,
        Locate,
        Located,
    ];
    if let Some((failed, _)) = read::<Failed>(data) {
        told(failed.failure);
    }
}

fn read<M: Message>(body: &[u8]) -> Option<(M, &[u8])> {
    let conversation = ConversationId(1);
    let header = Header { len: body.len() as u32, kind: M::KIND, flags: END, conversation };
    decode::<M>(&Frame { header, body }).ok()
}

fn survives<M: Message + PartialEq + Debug>(body: &[u8]) {
    let Some((message, payload)) = read::<M>(body) else { return };
    let mut bytes = Vec::new();
    let encoded = encode(&mut bytes, ConversationId(1), &message, payload, true);
    // Bytes that are longer than a frame were not read from one.
    let Ok(()) = encoded else {
        return assert!(body.len() > MAX_BODY, "{message:?} is read and cannot be written");
    };
    let again = read::<M>(&bytes[HEADER..]);
    assert_eq!(again, Some((message, payload)), "a message that does not survive");
}

/// A failure that came is a cause, and goes on as the same one.
fn told(failure: Failure) {
    let cause = Cause::from(failure);
    assert!(!cause.to_string().is_empty());
    let again = Cause::from(Failure::from(cause.clone()));
    assert_eq!(again, cause, "a cause that changes");
}

fn calls(data: &[u8]) {
    let Ok(calls) = batch::calls(data).collect::<Result<Vec<_>, _>>() else { return };
    let mut bytes = Vec::new();
    calls.iter().for_each(|call| batch::push_call(&mut bytes, &call.to_vec().into()));
    assert_eq!(bytes, data, "a batch that does not survive");
}

fn outcomes(data: &[u8]) {
    let Ok(outcomes) = batch::outcomes(data).collect::<Result<Vec<_>, _>>() else { return };
    let mut bytes = Vec::new();
    for outcome in &outcomes {
        match outcome {
            Ok(result) => batch::push_result(&mut bytes, |out| out.extend_from_slice(result)),
            Err(cause) => batch::push_failure(&mut bytes, cause.clone()),
        }
    }
    let again: Result<Vec<_>, _> = batch::outcomes(&bytes).collect();
    assert_eq!(again.map(|it| it.len()), Ok(outcomes.len()), "outcomes that do not survive");
}
