//! Results beside the lines that they belong to.
//!
//! Owns: the lines that are out, in their order. Invariants: every line comes out once, in
//! order, also those of which no call could be made; of these, as many wait as
//! [`MOST_REFUSED`], and the others are bounded by the window of the map.

use super::input::Entry;
use crate::exit::Failure;
use crate::json::Json;
use dpfw::{Call, TaskError};
use futures_core::Stream;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use tokio::sync::mpsc;

/// A line of the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// Counted from 1.
    pub(super) number: u64,
    /// With its end.
    pub(super) bytes: u64,
}

/// What became of a line.
#[derive(Debug)]
pub(super) enum Outcome {
    Result(Json),
    Failed(TaskError),
    /// No call could be made of it.
    Refused(Failure),
}

/// Lines without a call that wait for those before them: a queue of a few hundred KiB.
const MOST_REFUSED: usize = 1024;

#[derive(Default)]
struct State {
    lines: VecDeque<(Line, Option<Failure>)>,
    refused: usize,
    /// Why the input ended early.
    error: Option<String>,
}

impl State {
    fn next_is_refused(&self) -> bool {
        self.lines.front().is_some_and(|(_, refused)| refused.is_some())
    }
}

/// The lines that are out.
pub(super) struct Lines(Rc<RefCell<State>>);

/// The calls of the lines, for a master.
pub(super) struct Calls {
    entries: mpsc::Receiver<Vec<Entry>>,
    batch: std::vec::IntoIter<Entry>,
    state: Rc<RefCell<State>>,
}

/// Takes entries apart into lines, to be paired with the results, and calls.
pub(super) fn new(entries: mpsc::Receiver<Vec<Entry>>) -> (Lines, Calls) {
    let state = Rc::<RefCell<State>>::default();
    let calls = Calls { entries, batch: Vec::new().into_iter(), state: Rc::clone(&state) };
    (Lines(state), calls)
}

impl Stream for Calls {
    type Item = Call<Json>;

    /// Pending also while too many lines without a call wait: whoever polls takes those,
    /// and polls again.
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Call<Json>>> {
        let this = &mut *self;
        loop {
            let mut state = this.state.borrow_mut();
            if state.refused >= MOST_REFUSED {
                return Poll::Pending;
            }
            match this.batch.next() {
                Some(Entry::Call(line, call)) => {
                    state.lines.push_back((line, None));
                    return Poll::Ready(Some(call));
                }
                Some(Entry::Refused(line, why)) => {
                    state.lines.push_back((line, Some(why)));
                    state.refused += 1;
                }
                Some(Entry::Broken(error)) => state.error = Some(error),
                None => match ready!(this.entries.poll_recv(cx)) {
                    Some(batch) => this.batch = batch.into_iter(),
                    None => return Poll::Ready(None),
                },
            }
        }
    }
}

impl Lines {
    /// Pairs the lines with the results of their calls, which come in the same order.
    pub(super) fn pair<S>(self, results: S) -> Paired<S> {
        Paired { state: self.0, results, result: None, is_over: false }
    }
}

/// Lines with what became of them.
pub(super) struct Paired<S> {
    state: Rc<RefCell<State>>,
    results: S,
    /// A result that came while lines without a call were before its own.
    result: Option<Result<Json, TaskError>>,
    is_over: bool,
}

/// The next of the lines.
#[derive(Debug)]
pub(super) enum Step {
    Line(Line, Outcome),
    /// None now.
    Idle,
    /// There are no more; or the input broke.
    Over(Result<(), String>),
}

/// Whether a step waits for a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    Yes,
    No,
}

impl<S: Stream<Item = Result<Json, TaskError>> + Unpin> Paired<S> {
    /// The next line. Cancel safe.
    pub(super) async fn step(&mut self, wait: Wait) -> Step {
        std::future::poll_fn(|cx| match self.poll_step(cx) {
            Poll::Pending if wait == Wait::No => Poll::Ready(Step::Idle),
            poll => poll,
        })
        .await
    }

    fn poll_step(&mut self, cx: &mut Context<'_>) -> Poll<Step> {
        loop {
            if let Some(step) = self.take() {
                return Poll::Ready(step);
            }
            if self.is_over {
                let error = self.state.borrow_mut().error.take();
                return Poll::Ready(Step::Over(error.map_or(Ok(()), Err)));
            }
            match Pin::new(&mut self.results).poll_next(cx) {
                Poll::Ready(Some(result)) => self.result = Some(result),
                Poll::Ready(None) => self.is_over = true,
                Poll::Pending if self.state.borrow().next_is_refused() => {}
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// The first line, if it is decided.
    fn take(&mut self) -> Option<Step> {
        let mut state = self.state.borrow_mut();
        if state.next_is_refused() {
            let (line, why) = state.lines.pop_front()?;
            state.refused -= 1;
            return Some(Step::Line(line, Outcome::Refused(why?)));
        }
        let result = self.result.take()?;
        let (line, _) = state.lines.pop_front()?;
        Some(Step::Line(line, result.map_or_else(Outcome::Failed, Outcome::Result)))
    }
}

impl<S> fmt::Debug for Paired<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Paired({} lines out)", self.state.borrow().lines.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;
    use dpfw::{Module, Task};
    use futures_util::StreamExt;

    /// Entries by their pattern: `c` a call, `r` a line without one.
    fn entries(pattern: &str) -> mpsc::Receiver<Vec<Entry>> {
        let task = Task::<Json>::new(Module::new(&b""[..]), "f");
        let entries = pattern.chars().zip(1u64..).map(|(kind, number)| {
            let line = Line { number, bytes: 1 };
            match kind {
                'c' => Entry::Call(line, task.call(&(number,)).expect("encodes")),
                _ => Entry::Refused(line, Failure::new(Exit::Usage, "no")),
            }
        });
        let (sender, receiver) = mpsc::channel(1);
        sender.try_send(entries.collect()).expect("room");
        receiver
    }

    /// The lines as they come out, each result being its call's number.
    async fn paired(pattern: &str) -> String {
        let (lines, calls) = new(entries(pattern));
        let results = calls.map(|call| Ok(Json(call.to_string().into())));
        let mut paired = lines.pair(results);
        let (mut out, mut last) = (String::new(), 0);
        loop {
            match paired.step(Wait::Yes).await {
                Step::Line(line, outcome) => {
                    assert_eq!(line.number, last + 1);
                    last = line.number;
                    out.push(match outcome {
                        Outcome::Result(Json(text)) => {
                            assert_eq!(text, format!("f({last})").into_bytes());
                            'c'
                        }
                        Outcome::Refused(_) => 'r',
                        Outcome::Failed(error) => panic!("{error}"),
                    });
                }
                Step::Over(outcome) => {
                    outcome.expect("the input did not break");
                    return out;
                }
                Step::Idle => panic!("it was to wait"),
            }
        }
    }

    #[tokio::test]
    async fn every_line_comes_out_once_and_in_order() {
        let long = "r".repeat(3 * MOST_REFUSED);
        for pattern in ["", "c", "r", "crrc", "rrcrccr", &long, &format!("c{long}c")] {
            assert_eq!(paired(pattern).await, *pattern);
        }
    }

    #[tokio::test]
    async fn it_says_that_nothing_is_there_yet() {
        let (_sender, receiver) = mpsc::channel(1);
        let (lines, calls) = new(receiver);
        let mut paired = lines.pair(calls.map(|_| Ok(Json(Vec::new()))));
        assert!(matches!(paired.step(Wait::No).await, Step::Idle));
    }
}
