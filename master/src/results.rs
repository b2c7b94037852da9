//! The results of chunks that have come back, taken one by one.
//!
//! Owns: their bytes, which are decoded as the results are taken, and what each chunk cost.
//! Invariant: a chunk gives as many results as it has calls, whatever a slave has sent.

use crate::error::TaskError;
use crate::receipt::Receipt;
use crate::ticket::Outcome;
use dpfw_protocol::error::Cause;
use dpfw_protocol::{Bytes, batch, payload};
use serde::de::DeserializeOwned;
use std::collections::VecDeque;
use std::fmt::Display;

/// See the module's page. Bounded by the window of the map.
#[derive(Debug, Default)]
pub(crate) struct Results {
    /// The first stays until the first result of the next is taken.
    chunks: VecDeque<Returned>,
}

/// A chunk that has come back.
#[derive(Debug)]
struct Returned {
    task: String,
    receipt: Option<Receipt>,
    calls: u32,
    /// Results that are still to be taken.
    left: u32,
    content: Content,
}

#[derive(Debug)]
enum Content {
    /// Why there are no results.
    Failed(TaskError),
    /// That of a single call.
    Single(Bytes),
    /// Outcomes, of which those from a place on are still to be taken.
    Batch(Bytes, usize),
}

impl Results {
    /// A chunk of so many calls has come back.
    pub(crate) fn push(
        &mut self,
        task: String,
        calls: u32,
        receipt: Option<Receipt>,
        outcome: Outcome,
    ) {
        let receipt = receipt.map(|receipt| Receipt { calls, ..receipt });
        let content = match outcome {
            Err(error) => Content::Failed(error),
            Ok(bytes) if calls == 1 => Content::Single(bytes),
            Ok(bytes) => Content::Batch(bytes, 0),
        };
        self.chunks.push_back(Returned { task, receipt, calls, left: calls, content });
    }

    /// Whether there is none to be taken.
    pub(crate) fn is_empty(&self) -> bool {
        self.chunks.iter().all(|chunk| chunk.left == 0)
    }

    /// Takes the next one.
    #[inline]
    pub(crate) fn next<T: DeserializeOwned>(&mut self) -> Option<Result<T, TaskError>> {
        while self.chunks.front()?.left == 0 {
            if self.chunks.len() == 1 {
                return None;
            }
            self.chunks.pop_front();
        }
        let chunk = self.chunks.front_mut()?;
        chunk.left -= 1;
        Some(chunk.next())
    }

    /// What the chunk cost whose result was taken last.
    pub(crate) fn receipt(&self) -> Option<&Receipt> {
        let chunk = self.chunks.front().filter(|chunk| chunk.left < chunk.calls)?;
        chunk.receipt.as_ref()
    }
}

impl Returned {
    #[inline]
    fn next<T: DeserializeOwned>(&mut self) -> Result<T, TaskError> {
        let (bytes, at) = match &mut self.content {
            Content::Batch(bytes, at) => (bytes, at),
            Content::Single(bytes) => {
                let bytes = std::mem::take(bytes);
                return payload::decode(bytes).map_err(|error| self.bad(&error));
            }
            Content::Failed(error) => return Err(error.clone()),
        };
        let mut rest = bytes.get(*at..).unwrap_or_default();
        let outcome = batch::outcome(&mut rest);
        *at = bytes.len() - rest.len();
        match outcome {
            Some(Ok(Ok(part))) => {
                payload::decode_part(bytes, part).map_err(|error| self.bad(&error))
            }
            Some(Ok(Err(cause))) => Err(self.failed(cause)),
            Some(Err(error)) => Err(self.bad(&error)),
            None => Err(self.bad(&"the chunk has fewer results than calls")),
        }
    }

    #[cold]
    fn bad(&self, message: &dyn Display) -> TaskError {
        self.failed(Cause::BadResult { message: message.to_string() })
    }

    #[cold]
    fn failed(&self, cause: Cause) -> TaskError {
        let slave = self.receipt.as_ref().map(|receipt| receipt.slave.clone());
        TaskError::new(&self.task, slave, 1, cause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dpfw_protocol::ids::PeerId;
    use dpfw_protocol::message::Timing;
    use std::time::Instant;

    fn told(results: &mut Results) -> Vec<Result<u32, Cause>> {
        std::iter::from_fn(|| results.next())
            .map(|result: Result<u32, TaskError>| result.map_err(|error| error.cause().clone()))
            .collect()
    }

    fn bad(message: &str) -> Result<u32, Cause> {
        Err(Cause::BadResult { message: message.into() })
    }

    fn batch_of(outcomes: impl FnOnce(&mut Vec<u8>)) -> Outcome {
        let mut bytes = Vec::new();
        outcomes(&mut bytes);
        Ok(bytes.into())
    }

    #[test]
    fn every_call_has_its_outcome_in_its_place() {
        let mut results = Results::default();
        assert!(results.is_empty() && told(&mut results).is_empty());
        let failed = Cause::Failed { message: "no".into() };
        let outcome = batch_of(|out| {
            batch::push_result(out, |out| out.push(7));
            batch::push_failure(out, failed.clone());
            batch::push_result(out, |out| out.push(0xc3));
            batch::push_result(out, |out| out.push(8));
        });
        results.push("task".into(), 4, None, outcome);
        results.push("task".into(), 1, None, Ok(Bytes::from_static(&[9])));
        let error = TaskError::new("task", None, 2, Cause::Cancelled);
        results.push("task".into(), 2, None, Err(error));
        assert!(!results.is_empty());
        let all = told(&mut results);
        assert_eq!(all[..2], [Ok(7), Err(failed)]);
        assert!(matches!(all[2], Err(Cause::BadResult { .. })), "{all:?}");
        assert_eq!(all[3..], [Ok(8), Ok(9), Err(Cause::Cancelled), Err(Cause::Cancelled)]);
        assert!(results.is_empty());
    }

    #[test]
    fn a_chunk_gives_as_many_results_as_it_has_calls() {
        let missing = bad("the chunk has fewer results than calls");
        let two = |out: &mut Vec<u8>| {
            batch::push_result(out, |out| out.push(1));
            batch::push_result(out, |out| out.push(2));
        };
        let mut results = Results::default();
        results.push("task".into(), 3, None, batch_of(two));
        assert_eq!(told(&mut results), [Ok(1), Ok(2), missing.clone()]);
        let cut = batch_of(|out| {
            two(out);
            out.pop();
        });
        results.push("task".into(), 4, None, cut);
        let malformed = bad("a batch is truncated or malformed");
        assert_eq!(told(&mut results), [Ok(1), malformed, missing.clone(), missing]);
        results.push("task".into(), 2, None, batch_of(|out| (0..9).for_each(|_| two(out))));
        assert_eq!(told(&mut results), [Ok(1), Ok(2)]);
    }

    #[test]
    fn a_receipt_is_of_the_chunk_of_the_last_result() {
        let mut results = Results::default();
        let now = Instant::now();
        for (memory, calls) in [(1, 2), (2, 1)] {
            let timing = Timing { memory, ..Timing::default() };
            let receipt =
                Receipt::new(PeerId::new("s1").expect("a name"), 1, (now, now, now), &timing);
            let error = TaskError::new("task", None, 1, Cause::Cancelled);
            results.push("task".into(), calls, Some(receipt), Err(error));
        }
        let mut told = || {
            results.next::<()>()?.err()?;
            results.receipt().map(|receipt| (receipt.memory_bytes, receipt.calls))
        };
        assert_eq!([told(), told(), told()], [Some((1, 2)), Some((1, 2)), Some((2, 1))]);
        assert_eq!((told(), results.receipt().map(|it| it.memory_bytes)), (None, Some(2)));
    }
}
