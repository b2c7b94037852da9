//! Payloads that arrive in chunks, against a model that only adds up.

use crate::{bytes, number};
use dpfw_protocol::ids::ConversationId;
use dpfw_protocol::receive::{ArrivalError, Arrivals, Step};
use dpfw_protocol::recycle::Recycler;
use std::collections::BTreeMap;

/// What may be announced in all, and what one sender may have under way.
const MOST: u64 = 4096;
const WINDOW: u64 = 512;

/// What the model knows of a payload.
#[derive(Debug)]
struct Model {
    expected: u64,
    bytes: Vec<u8>,
}

/// Announcements, chunks and abandons of four conversations. What is complete has the bytes
/// that were sent, in their order; what is announced is bounded; a rule that is broken is found.
pub fn body(data: &[u8]) {
    let mut data = data;
    let mut arrivals = Arrivals::new(WINDOW, MOST, Recycler::default());
    let mut models = BTreeMap::<u64, Model>::new();
    while !data.is_empty() {
        let op = number(&mut data);
        let (conversation, last) = (u64::from(op >> 6), op & 0x20 != 0);
        match op & 7 {
            0..=2 => begin(&mut arrivals, &mut models, conversation, last, &mut data),
            3..=5 => chunk(&mut arrivals, &mut models, conversation, last, &mut data),
            6 => {
                let was = arrivals.abandon(ConversationId(conversation));
                let known = models.remove(&conversation).is_some();
                assert_eq!(was.is_some(), known, "an abandon of what is not there");
            }
            _ if last => {
                assert_eq!(arrivals.drain().count(), models.len(), "contexts are lost");
                models.clear();
            }
            _ => {}
        }
        let announced: u64 = models.values().map(|model| model.expected).sum();
        assert!(announced <= MOST, "{announced} bytes are announced");
    }
}

fn begin(
    arrivals: &mut Arrivals<u64>,
    models: &mut BTreeMap<u64, Model>,
    id: u64,
    last: bool,
    data: &mut &[u8],
) {
    // 0 to 2 MiB; most of them small.
    let (size, shift) = (u64::from(number(data)), number(data) % 14);
    let expected = size << shift;
    let inline = usize::from(number(data));
    let inline = bytes(data, inline);
    match arrivals.begin(ConversationId(id), expected, inline, last, id) {
        Ok(Step::Complete(context, payload)) => {
            assert!(last && context == id && *payload == *inline);
            assert_eq!(payload.len() as u64, expected);
        }
        Ok(Step::More(None)) => {
            assert!(!last && inline.is_empty() && expected > 0);
            let model = Model { expected, bytes: Vec::new() };
            assert!(models.insert(id, model).is_none(), "two payloads in one conversation");
        }
        Ok(step) => panic!("an announcement makes {step:?}"),
        Err(ArrivalError::NoRoom(context)) => {
            let announced: u64 = models.values().map(|model| model.expected).sum();
            assert!(context == id && announced + expected > MOST, "there is room");
        }
        Err(_) => {}
    }
}

fn chunk(
    arrivals: &mut Arrivals<u64>,
    models: &mut BTreeMap<u64, Model>,
    id: u64,
    last: bool,
    data: &mut &[u8],
) {
    let body = usize::from(number(data));
    let body = bytes(data, body);
    let model = models.get_mut(&id);
    match (arrivals.chunk(ConversationId(id), body, last), model) {
        (Ok(Step::Stray), model) => assert!(model.is_none(), "a chunk of {model:?} is stray"),
        (Ok(Step::More(_)), Some(model)) => {
            model.bytes.extend_from_slice(body);
            assert!(!last && (model.bytes.len() as u64) < model.expected);
        }
        (Ok(Step::Complete(context, payload)), Some(model)) => {
            model.bytes.extend_from_slice(body);
            assert!(
                last && context == id && *payload == *model.bytes,
                "other bytes than were sent"
            );
            assert_eq!(payload.len() as u64, model.expected);
            models.remove(&id);
        }
        // The link ends with this; nothing of it is looked at any more.
        (Err(ArrivalError::Broken { .. }), Some(_)) => {
            assert!(arrivals.abandon(ConversationId(id)).is_some());
            models.remove(&id);
        }
        (outcome, model) => panic!("{outcome:?} of {model:?}"),
    }
}
