//! The search for a resident among all slaves.
//!
//! Owns: what is made of what they say. Invariants: one is taken to be nowhere only if every slave
//! that was asked has said so, not if a link was lost; of several, also if some are asleep, none is
//! chosen. A slave that is not linked is not asked.

use super::requests::{answer, one};
use crate::home::Home;
use crate::slave::Linked;
use dpfw_dispatch::Loss;
use dpfw_protocol::error::Cause;
use dpfw_protocol::ids::PeerId;
use dpfw_protocol::message::ResidentOp;
use dpfw_protocol::resident::{ResidentInfo, Stage};
use dpfw_protocol::store::Key;
use futures_util::future::join_all;
use std::sync::Arc;
use std::time::Duration;

/// How often slaves are asked again of which two have a resident that moves, or one was lost before
/// it said whether it has it, and how long is waited between: a move takes as long as its state
/// travels, and a link that was reset as long as the slave is dialled anew.
const AGAIN: (u32, Duration) = (100, Duration::from_millis(20));

/// How often slaves are asked again of which one says that it has moved to another, which does
/// not have it: it may have ended there.
const ON_ITS_WAY: u32 = 3;

/// What all slaves say of a key.
pub(super) enum Found {
    Nowhere,
    One(Arc<Linked>, ResidentInfo),
    /// This slave has its state, and it was not begun since it failed or that was started again.
    Asleep(Arc<Linked>, Cause),
}

/// What one slave says.
enum Answer {
    There(ResidentInfo),
    Nowhere,
    Moved(String),
    Asleep(Cause),
    /// Its move here broke off, so that it may live on where it was.
    Left(Cause),
    Lost,
    Fails(Cause),
}

/// What was heard in one round.
#[derive(Default)]
struct Heard {
    there: Vec<(Arc<Linked>, ResidentInfo)>,
    asleep: Vec<(Arc<Linked>, Cause)>,
    left: Vec<(Arc<Linked>, Cause)>,
    /// It is on its way to a slave that is linked.
    is_on_its_way: bool,
    failure: Option<Cause>,
}

/// Asks all slaves for the resident under a key.
pub(super) async fn find_at_all(home: &Home, key: &Key) -> Result<Found, Cause> {
    let mut lost: Vec<PeerId> = Vec::new();
    for look in 0..AGAIN.0 {
        let slaves = home.slaves();
        lost.retain(|name| !slaves.iter().any(|linked| linked.hello.peer == *name));
        let answers = join_all(slaves.iter().map(|linked| ask(linked, key))).await;
        let mut heard = Heard::default();
        for (linked, answer) in slaves.into_iter().zip(answers) {
            match answer {
                Answer::Lost => lost.push(linked.hello.peer.clone()),
                answer => heard.take(home, linked, answer),
            }
        }
        let may_be_elsewhere = !lost.is_empty() || (heard.is_on_its_way && look < ON_ITS_WAY);
        if let Some(found) = heard.found(key, may_be_elsewhere) {
            return found;
        }
        home.pause(AGAIN.1).await;
    }
    match lost.is_empty() {
        true => Err(Cause::Busy { what: format!("the resident `{key}` is being moved") }),
        false => Err(Cause::SlaveLost { may_have_run: false }),
    }
}

async fn ask(linked: &Linked, key: &Key) -> Answer {
    let mut reply = match answer(linked, ResidentOp::Find { key: key.clone() }).await {
        Ok((reply, _)) => reply,
        Err(Cause::SlaveLost { .. }) => {
            // One that said goodbye has ended, and with it what it had.
            let loss = linked.ending(|ending| ending.gone.is_some()).await.gone;
            return if loss == Some(Loss::Left) { Answer::Nowhere } else { Answer::Lost };
        }
        Err(cause) => return Answer::Fails(cause),
    };
    match reply.failure.take().map(Cause::from) {
        None => one(reply, key).map_or(Answer::Nowhere, Answer::There),
        Some(Cause::NoResident { .. }) => Answer::Nowhere,
        Some(Cause::ResidentMoved { to, .. }) => Answer::Moved(to),
        Some(cause @ Cause::ResidentEnded { .. }) => {
            match reply.residents.iter().any(|info| info.stage == Stage::Moving) {
                true => Answer::Left(cause),
                false => Answer::Asleep(cause),
            }
        }
        Some(cause) => Answer::Fails(cause),
    }
}

impl Heard {
    fn take(&mut self, home: &Home, linked: Arc<Linked>, answer: Answer) {
        match answer {
            Answer::There(info) => self.there.push((linked, info)),
            Answer::Asleep(cause) => self.asleep.push((linked, cause)),
            Answer::Left(cause) => self.left.push((linked, cause)),
            // It is on its way, unless it is where this master has no link.
            Answer::Moved(to) => {
                let is_linked = home.slave(|linked| linked.hello.peer.as_str() == to).is_some();
                self.is_on_its_way |= is_linked;
            }
            Answer::Fails(cause) => self.failure = Some(cause),
            Answer::Nowhere | Answer::Lost => {}
        }
    }

    /// What that is, unless all are to be asked again.
    fn found(mut self, key: &Key, may_be_elsewhere: bool) -> Option<Result<Found, Cause>> {
        if self.there.is_empty() && self.asleep.is_empty() {
            // Nothing speaks against it.
            self.asleep = std::mem::take(&mut self.left);
        }
        match (self.there.len(), self.asleep.len()) {
            (1, 0) => self.there.pop().map(|(linked, info)| Ok(Found::One(linked, info))),
            (0, 0 | 1) if may_be_elsewhere => None,
            (0, 0 | 1) => Some(match (self.failure, self.asleep.pop()) {
                (Some(cause), _) => Err(cause),
                (None, Some((linked, cause))) => Ok(Found::Asleep(linked, cause)),
                (None, None) => Ok(Found::Nowhere),
            }),
            _ if self.there.iter().any(|(_, info)| info.stage == Stage::Moving) => None,
            _ => {
                let there = self.there.iter().map(|(linked, _)| linked);
                let all = there.chain(self.asleep.iter().map(|(linked, _)| linked));
                let mut slaves: Vec<_> = all.map(|it| it.hello.peer.to_string()).collect();
                slaves.sort_unstable();
                Some(Err(Cause::ResidentTwice { key: key.to_string(), slaves }))
            }
        }
    }
}
