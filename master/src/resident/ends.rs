//! How residents end, and who waits for it.
//!
//! Owns: one question for the end of each resident, however many wait. Invariant: a resident
//! that moves is asked for again where it has moved.

use super::follow::Target;
use super::window::Window;
use dpfw_protocol::error::Cause;
use dpfw_protocol::ids::ResidentId;
use dpfw_protocol::message::{ResidentOp, ResidentReply};
use dpfw_protocol::resident;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;

/// How a resident ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum End {
    /// It was stopped, or its entry was removed.
    Stopped,
    /// It failed, and is not begun again. This is the last failure.
    Failed(Cause),
    /// Its slave has ended in order.
    Drained,
}

/// The end, once somebody has asked for it.
#[derive(Debug, Default)]
pub(crate) struct Watched(Mutex<Option<Ending>>);

type Ending = watch::Receiver<Option<Result<End, Cause>>>;

impl Window {
    /// Asks for the end, unless somebody has.
    fn ending(self: &Arc<Self>) -> Ending {
        let mut watched = self.watched.0.lock().unwrap_or_else(PoisonError::into_inner);
        // What was not heard of, over a link that is lost, may be now.
        let is_over = |ending: &Ending| matches!(&*ending.borrow(), Some(Err(_)));
        if let Some(ending) = watched.as_ref().filter(|ending| !is_over(ending)) {
            return ending.clone();
        }
        let (told, ending) = watch::channel(None);
        let window = Arc::clone(self);
        self.home.spawn(async move {
            let end = window.heard_of_end().await;
            told.send_replace(Some(end));
        });
        watched.insert(ending).clone()
    }

    /// Waits for the end.
    pub(crate) async fn end(self: &Arc<Self>) -> Result<End, Cause> {
        let mut ending = self.ending();
        let end = ending.wait_for(Option::is_some).await;
        // Whoever asks is gone with the master.
        end.map_or(None, |end| end.clone()).unwrap_or(Err(Cause::Shutdown))
    }

    async fn heard_of_end(self: &Arc<Self>) -> Result<End, Cause> {
        self.ask_for_end(|resident| ResidentOp::Await { resident }).await
    }

    /// Has it end.
    pub(super) async fn stop(self: &Arc<Self>) -> Result<(), Cause> {
        self.ask_for_end(|resident| ResidentOp::Stop { resident }).await.map(drop)
    }

    /// Asks for its end where it is, and again where it has moved.
    async fn ask_for_end(
        self: &Arc<Self>,
        op: impl Fn(ResidentId) -> ResidentOp,
    ) -> Result<End, Cause> {
        loop {
            self.settled().await;
            let place = self.place();
            // It may have ended while its slave was not linked, and have no place: that slave says how.
            let again = Target::of(&place).linked(&self.home).map(|linked| place.over(linked));
            let at = again.as_ref().unwrap_or(&place);
            let answer = self.ask(at, op(place.resident)).await;
            match answer.map(|(reply, _)| end_of(reply)) {
                Ok(Some(Ended::Here(end))) => return Ok(end),
                Ok(Some(Ended::Moved(to))) | Err(Cause::ResidentMoved { to, .. }) => {
                    self.went(&place, to.clone());
                    self.settled().await;
                    if self.place().is(&place) {
                        return Err(Cause::ResidentMoved { key: self.key.to_string(), to });
                    }
                }
                Ok(None) => {
                    let message = "the slave does not say how the resident ended".into();
                    return Err(Cause::BadResult { message });
                }
                Err(cause) => return Err(cause),
            }
        }
    }

    /// Waits until it is clear where the resident is.
    pub(crate) async fn settled(self: &Arc<Self>) {
        self.look_again();
        loop {
            let settled = self.settled.notified();
            if self.is_settled() {
                return;
            }
            settled.await;
        }
    }

    /// It has moved from a place.
    fn went(self: &Arc<Self>, from: &super::window::Place, to: String) {
        if self.place().is(from) {
            self.leaves_for(Target::named(to));
        }
    }
}

enum Ended {
    Here(End),
    Moved(String),
}

fn end_of(reply: ResidentReply) -> Option<Ended> {
    Some(Ended::Here(match reply.end? {
        resident::End::Stopped => End::Stopped,
        resident::End::Drained => End::Drained,
        resident::End::Moved(to) => return Some(Ended::Moved(to.as_str().into())),
        resident::End::Failed => End::Failed(reply.failure.map_or_else(
            || Cause::Internal { message: "the slave does not say why".into() },
            Cause::from,
        )),
    }))
}
