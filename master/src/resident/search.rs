//! The search for a resident among all slaves.
//!
//! Owns: what is made of what they say. Invariants: one is taken to be nowhere only if every slave
//! that was asked has said so, not if a link was lost; of several, also if some are asleep, none is
//! chosen, but for what a move that broke off left of one that lives on: that is forgotten. A slave
//! that is not linked is not asked; one whose link was lost a moment ago is waited for.

use super::find::find_at;
use super::requests::{answer, ask as ask_at, one};
use crate::home::Home;
use crate::slave::Linked;
use dpfw_dispatch::Loss;
use dpfw_protocol::error::Cause;
use dpfw_protocol::ids::{PeerId, ResidentId};
use dpfw_protocol::message::ResidentOp;
use dpfw_protocol::resident::{ResidentInfo, Stage};
use dpfw_protocol::store::Key;
use futures_util::future::join_all;
use std::num::NonZeroU64;
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
    /// What moves left of it elsewhere has been told to give way.
    One(Arc<Linked>, ResidentInfo, Vec<Left>),
    /// This slave has its state, and it was not begun since it failed or that was started again.
    /// What moves left of it elsewhere gives way to it once it is begun.
    Asleep(Arc<Linked>, Cause, Vec<Left>),
}

/// A state of a resident that is not there.
struct Asleep {
    at: Arc<Linked>,
    why: Cause,
    lineage: Option<NonZeroU64>,
}

/// What a move that broke off left, which may be of one that lives on where it was.
pub(super) struct Left {
    asleep: Asleep,
    /// By which its slave knows it.
    number: ResidentId,
}

/// What one slave says.
enum Answer {
    There(ResidentInfo),
    Nowhere,
    Moved(String),
    Asleep(Cause, Option<NonZeroU64>),
    /// Its move here broke off, so that it may live on where it was.
    Left(Cause, Option<NonZeroU64>, ResidentId),
    Lost,
    Fails(Cause),
}

/// What was heard in one round.
#[derive(Default)]
struct Heard {
    there: Vec<(Arc<Linked>, ResidentInfo)>,
    asleep: Vec<Asleep>,
    left: Vec<Left>,
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
        let misses = home.misses(&slaves);
        let answers = join_all(slaves.iter().map(|linked| ask(linked, key))).await;
        let mut heard = Heard::default();
        for (linked, answer) in slaves.into_iter().zip(answers) {
            match answer {
                Answer::Lost => lost.push(linked.hello.peer.clone()),
                answer => heard.take(home, linked, answer),
            }
        }
        let may_be_elsewhere =
            misses || !lost.is_empty() || (heard.is_on_its_way && look < ON_ITS_WAY);
        if let Some(found) = heard.found(key, may_be_elsewhere) {
            if let Ok(Found::One(linked, info, left)) = &found {
                give_way(linked, info, left).await;
            }
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
        Some(cause @ Cause::ResidentEnded { .. }) => match reply.residents.first() {
            Some(it) if it.stage == Stage::Moving => Answer::Left(cause, it.lineage, it.resident),
            it => Answer::Asleep(cause, it.and_then(|it| it.lineage)),
        },
        Some(cause) => Answer::Fails(cause),
    }
}

/// What moves that broke off left of a resident is forgotten, if it lives on where it was found:
/// what there was before it was seen there is of no use any more. Whoever looks next tries again
/// if that cannot be told.
pub(super) async fn give_way(at: &Linked, it: &ResidentInfo, left: &[Left]) {
    if left.is_empty() {
        return;
    }
    let stays = find_at(at, &it.key).await.is_ok_and(|now| {
        (now.resident, now.lineage) == (it.resident, it.lineage) && now.stage != Stage::Moving
    });
    let its = |left: &&Left| it.lineage.is_some() && left.asleep.lineage == it.lineage;
    for Left { asleep, number } in left.iter().filter(its).filter(|_| stays) {
        let op = ResidentOp::GiveWay { key: it.key.clone(), left: *number };
        let _ = ask_at(&asleep.at, op).await;
    }
}

impl Heard {
    fn take(&mut self, home: &Home, linked: Arc<Linked>, answer: Answer) {
        match answer {
            Answer::There(info) => self.there.push((linked, info)),
            Answer::Asleep(why, lineage) => {
                self.asleep.push(Asleep { at: linked, why, lineage });
            }
            Answer::Left(why, lineage, number) => {
                self.left.push(Left { asleep: Asleep { at: linked, why, lineage }, number });
            }
            // It is on its way, unless it is where this master has no link.
            Answer::Moved(to) => {
                let is_linked = home.slave(|linked| linked.hello.peer.as_str() == to).is_some();
                self.is_on_its_way |= is_linked;
            }
            Answer::Fails(cause) => self.failure = Some(cause),
            Answer::Nowhere | Answer::Lost => {}
        }
    }

    /// Takes out what gives way to what there is of the same resident; the rest is asleep.
    fn giving_way(&mut self) -> Vec<Left> {
        let there = self.there.iter().map(|(_, info)| info.lineage);
        let all: Vec<_> = there.chain(self.asleep.iter().map(|asleep| asleep.lineage)).collect();
        let left = std::mem::take(&mut self.left).into_iter();
        let (gives_way, rest): (Vec<_>, Vec<_>) =
            left.partition(|left| all.contains(&left.asleep.lineage));
        self.asleep.extend(rest.into_iter().map(|left| left.asleep));
        gives_way
    }

    /// What that is; nothing if all are to be asked again.
    fn found(mut self, key: &Key, may_be_elsewhere: bool) -> Option<Result<Found, Cause>> {
        let left = self.giving_way();
        match (self.there.len(), self.asleep.len()) {
            (1, 0) => self.there.pop().map(|(linked, info)| Ok(Found::One(linked, info, left))),
            (0, 0 | 1) if may_be_elsewhere => None,
            (0, 0 | 1) => Some(match (self.failure, self.asleep.pop()) {
                (Some(cause), _) => Err(cause),
                (None, Some(asleep)) => Ok(Found::Asleep(asleep.at, asleep.why, left)),
                (None, None) => Ok(Found::Nowhere),
            }),
            _ if self.there.iter().any(|(_, info)| info.stage == Stage::Moving) => None,
            _ => {
                let there = self.there.iter().map(|(linked, _)| linked);
                let all = there.chain(self.asleep.iter().map(|asleep| &asleep.at));
                let mut slaves: Vec<_> = all.map(|it| it.hello.peer.to_string()).collect();
                slaves.sort_unstable();
                Some(Err(Cause::ResidentTwice { key: key.to_string(), slaves }))
            }
        }
    }
}
