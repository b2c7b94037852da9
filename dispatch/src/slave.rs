//! What the master knows of one slave.
//!
//! Owns: the attempts out there and the account of them, its standing, its own measured
//! costs, the tasks pinned to it. Does not: choose. Invariants: an attempt is in the
//! account until the slave says that it ended, even if its task has long resolved; attempt
//! ids only grow.

use crate::config::Config;
use crate::cost::Mean;
use crate::event::{KeyId, KindId, ReservationId, SlaveId};
use crate::hash::{IdMap, IdSet};
use crate::lanes::LaneId;
use crate::task::{List, Ref};
use crate::time::{Time, nanos};
use dpfw_protocol::ids::AttemptId;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// An attempt that is out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent {
    /// `None` if it has resolved without this attempt's end.
    pub(crate) task: Option<Ref>,
    pub(crate) kind: KindId,
    /// What it was expected to cost, in nanoseconds.
    pub(crate) cost: u64,
    pub(crate) stage: Stage,
    /// Whether it may be recalled: not pinned, not a suspect.
    pub(crate) moves: Moves,
    pub(crate) sight: Sight,
    pub(crate) company: Company,
    /// When it was sent.
    pub(crate) at: Time,
    /// How many milliseconds later it was last said to begin, or to go on. Small: of each attempt
    /// a slave's account is changed a few times.
    pub(crate) begun_ms: u32,
}

impl Sent {
    /// An attempt that is sent now.
    pub(crate) fn new(task: Ref, kind: KindId, cost: u64, now: Time) -> Self {
        Self {
            task: Some(task),
            kind,
            cost,
            stage: Stage::Sent,
            moves: Moves::No,
            sight: Sight::default(),
            company: Company::Never,
            at: now,
            begun_ms: 0,
        }
    }

    /// Since when it has had a slot, or ought to have one.
    pub(crate) fn since(&self) -> Time {
        self.at + Duration::from_millis(self.begun_ms.into())
    }

    /// It has a slot now, or ought to have one before long.
    pub(crate) fn begin(&mut self, now: Time) {
        self.begun_ms = u32::try_from(now.since(self.at).as_millis()).unwrap_or(u32::MAX);
    }
}

/// Whether an attempt's task is out in another one as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Company {
    /// It is not, and must not be.
    Never,
    /// It is not, and may be.
    May,
    /// It is.
    Has,
    /// It was, and the other one's slave died of it perhaps. It is in no other again.
    Bereft,
}

/// What the slave's last word on all that it holds was of this attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Sight {
    /// It holds it and is to, or it has said nothing yet.
    #[default]
    Agreed,
    /// It does not hold it.
    Missed,
    /// It holds it though nobody wants it.
    Lingers,
}

/// How far an attempt is, as far as is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Sent,
    /// It waits for its module, and holds no slot meanwhile.
    Loading,
    Recalled,
    Started,
    /// It has started, and holds no slot while it waits.
    Waiting,
}

impl Stage {
    pub(crate) fn has_started(self) -> bool {
        matches!(self, Self::Started | Self::Waiting)
    }

    /// Whether it holds no slot, and is not about to.
    pub(crate) fn is_idle(self) -> bool {
        matches!(self, Self::Loading | Self::Waiting)
    }
}

/// Whether an attempt may be recalled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moves {
    Yes,
    No,
}

/// Whether a slave admits anything new at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Working,
    Draining,
}

/// For whom a slave is kept, if for anybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hold {
    Open,
    /// It is to become empty, for a suspect.
    Emptying {
        since: Time,
    },
    /// It runs a suspect and nothing else.
    Alone(AttemptId),
    /// It is to become empty, for a reservation.
    Wanted {
        by: ReservationId,
        since: Time,
    },
    /// It was asked for all its slots.
    Asked(ReservationId),
    /// All its slots are held.
    Held(ReservationId),
}

/// Whether a slave takes another attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Room {
    /// It has a free slot.
    Free,
    /// Its slots are full; a short task may lie ready behind them.
    Ahead,
    /// It takes nothing.
    Full,
}

/// One slave.
#[derive(Debug)]
pub(crate) struct Slave {
    pub(crate) slots: u32,
    limit: u32,
    pub(crate) standing: Standing,
    /// Whether another session holds all slots.
    pub(crate) taken: bool,
    pub(crate) hold: Hold,
    last_attempt: u64,
    pub(crate) outs: BTreeMap<AttemptId, Sent>,
    /// Attempts that are over and that it last said it holds, in order. Bounded by what it
    /// may say at once.
    pub(crate) strays: Vec<AttemptId>,
    /// Outstanding attempts that were expected to be longer than is queued ahead for.
    long: u64,
    /// The expected cost of the others, and of all.
    short_nanos: u64,
    pub(crate) all_nanos: u64,
    movable: u64,
    recalled: u64,
    /// Attempts that hold no slot. They are in none of the accounts above.
    idling: u64,
    /// How many of each kind wait for their module.
    loading: IdMap<KindId, u64>,
    /// When an attempt last ended, or the first one came.
    pub(crate) progress: Time,
    /// Not before this is anything recalled again.
    pub(crate) recall_after: Time,
    pub(crate) costs: IdMap<KindId, Mean>,
    pub(crate) keys: IdSet<KeyId>,
    pub(crate) pinned: List,
    /// Where tasks wait for keys all of which it has.
    pub(crate) lanes: BTreeSet<LaneId>,
    /// The one that was served last.
    pub(crate) last_lane: LaneId,
    /// Tasks sent from its own queues or a reservation's since one from elsewhere.
    pub(crate) streak: u32,
    /// Reservations of this very slave that wait.
    pub(crate) waiting: VecDeque<ReservationId>,
    pub(crate) paused: Option<Time>,
    pub(crate) pause: Duration,
    pub(crate) refused: Option<Time>,
}

impl Slave {
    pub(crate) fn new(slots: u32, limit: u32, now: Time) -> Self {
        Self {
            slots,
            limit,
            standing: Standing::Working,
            taken: false,
            hold: Hold::Open,
            last_attempt: 0,
            outs: BTreeMap::new(),
            strays: Vec::new(),
            long: 0,
            short_nanos: 0,
            all_nanos: 0,
            movable: 0,
            recalled: 0,
            idling: 0,
            loading: IdMap::default(),
            progress: now,
            recall_after: now,
            costs: IdMap::default(),
            keys: IdSet::default(),
            pinned: List::default(),
            lanes: BTreeSet::new(),
            last_lane: LaneId::default(),
            streak: 0,
            waiting: VecDeque::new(),
            paused: None,
            pause: Duration::ZERO,
            refused: None,
        }
    }

    /// The id of the last attempt that it was sent.
    pub(crate) fn last_attempt(&self) -> AttemptId {
        AttemptId(self.last_attempt)
    }

    /// Whether anything may be sent there, whoever holds it.
    pub(crate) fn is_able(&self) -> bool {
        let works = self.standing == Standing::Working || mutated!(DrainIgnored);
        let own = !self.taken || mutated!(TakenIgnored);
        works && own && self.paused.is_none() && self.slots > 0 && self.limit > 0
    }

    /// Whether tasks of the general queue may be sent there.
    pub(crate) fn is_open(&self) -> bool {
        self.is_able() && self.hold == Hold::Open && !self.has_own() && self.waiting.is_empty()
    }

    /// Whether tasks wait for it, and perhaps for no other.
    pub(crate) fn has_own(&self) -> bool {
        !self.pinned.is_empty() || !self.lanes.is_empty()
    }

    /// Gives the next attempt its id and takes it into the account.
    pub(crate) fn begin(&mut self, sent: Sent, config: &Config, now: Time) -> AttemptId {
        if self.outs.is_empty() {
            self.progress = now;
        }
        self.last_attempt += 1;
        let attempt = AttemptId(self.last_attempt);
        self.count(&sent, config, u64::wrapping_add);
        self.outs.insert(attempt, sent);
        attempt
    }

    /// Takes an attempt out of the account.
    pub(crate) fn end(&mut self, attempt: AttemptId, config: &Config) -> Option<Sent> {
        let sent = self.outs.remove(&attempt)?;
        let leaks = mutated!(SlotLeaked);
        if mutated!(ResultAcceptedTwice) || (leaks && sent.task.is_none()) {
            self.outs.insert(attempt, sent);
            return Some(sent);
        }
        self.count(&sent, config, u64::wrapping_sub);
        Some(sent)
    }

    /// Changes an attempt and the account with it.
    pub(crate) fn change(
        &mut self,
        attempt: AttemptId,
        config: &Config,
        change: impl FnOnce(&mut Sent),
    ) {
        let Some(mut sent) = self.outs.get(&attempt).copied() else { return };
        self.count(&sent, config, u64::wrapping_sub);
        change(&mut sent);
        self.count(&sent, config, u64::wrapping_add);
        self.outs.insert(attempt, sent);
    }

    fn count(&mut self, sent: &Sent, config: &Config, by: fn(u64, u64) -> u64) {
        if sent.stage == Stage::Loading {
            let count = self.loading.entry(sent.kind).or_default();
            *count = by(*count, 1);
            if *count == 0 {
                self.loading.remove(&sent.kind);
            }
        }
        if sent.stage.is_idle() {
            self.idling = by(self.idling, 1);
            return;
        }
        self.all_nanos = by(self.all_nanos, sent.cost);
        match is_long(sent.cost, config) {
            true => self.long = by(self.long, 1),
            false => self.short_nanos = by(self.short_nanos, sent.cost),
        }
        match sent.stage {
            Stage::Sent if sent.moves == Moves::Yes => self.movable = by(self.movable, 1),
            Stage::Recalled => self.recalled = by(self.recalled, 1),
            _ => {}
        }
    }

    /// How much room there is, and a measure of the load that orders slaves with the same
    /// room: the share of slots in use, or the expected wait for one.
    ///
    /// Slots that run something long do not count for what lies ahead. Of the others each
    /// has one attempt running; the rest wait, and cost the mean of all of them.
    pub(crate) fn room(&self, config: &Config) -> (Room, u64) {
        let (all, slots) = (self.outs.len() as u64, u64::from(self.slots));
        let out = all - self.idling;
        let ratio = (all << 32) / slots.max(1);
        if all >= u64::from(self.limit) {
            return (Room::Full, ratio);
        }
        if out < slots {
            return (Room::Free, ratio);
        }
        let lanes = slots - self.long.min(slots);
        let short = out - self.long;
        let waiting = short.saturating_sub(lanes);
        if lanes == 0 || waiting >= lanes * u64::from(config.max_ahead_per_slot) {
            return (Room::Full, ratio);
        }
        let wait = u128::from(waiting) * u128::from(self.short_nanos)
            / (u128::from(lanes) * u128::from(short.max(1)));
        match u64::try_from(wait) {
            Ok(wait) if wait < nanos(config.queue_ahead) => (Room::Ahead, wait),
            _ => (Room::Full, ratio),
        }
    }

    /// Whether attempts of that kind wait there for their module.
    pub(crate) fn loads(&self, kind: KindId) -> bool {
        self.loading.contains_key(&kind)
    }

    /// How many attempts lie beyond the slots and could be elsewhere. None while some
    /// are being recalled: a recall is not repeated before it is answered.
    pub(crate) fn excess(&self) -> u64 {
        let out = self.outs.len() as u64 - self.idling;
        let beyond = out.saturating_sub(u64::from(self.slots));
        match self.recalled {
            0 if self.standing == Standing::Working => beyond.min(self.movable),
            _ => 0,
        }
    }

    /// Checks the account against the attempts.
    ///
    /// # Panics
    /// If they differ.
    pub(crate) fn check(&self, id: SlaveId, config: &Config) {
        let mut fresh = Self::new(self.slots, self.limit, self.progress);
        self.outs.values().for_each(|sent| fresh.count(sent, config, u64::wrapping_add));
        let counts =
            |s: &Self| (s.long, s.short_nanos, s.all_nanos, s.movable, s.recalled, s.idling);
        assert_eq!(counts(self), counts(&fresh), "the account of slave {id}");
        assert_eq!(self.loading, fresh.loading, "what slave {id} loads");
        assert!(self.outs.keys().all(|a| a.0 <= self.last_attempt), "attempt ids of slave {id}");
        assert!(self.outs.len() <= self.limit as usize, "slave {id} holds too many attempts");
    }
}

/// Whether a task of that cost is too long to lie ready behind another.
pub(crate) fn is_long(cost: u64, config: &Config) -> bool {
    cost > nanos(config.queue_ahead)
}

#[cfg(test)]
mod tests;
