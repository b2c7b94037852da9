//! Passing snapshots on, from a slave that has built an image to those that lack it.
//!
//! Owns: which slave is asked for which snapshot, and who waits for it. Invariants: a slave is
//! asked for one at a time; whoever waits gets an answer when the fetch has ended, whether it
//! brought the snapshot or not; of an image that was looked up every slave that has built it
//! is asked once before there is said to be none.

use super::{Answer, Answers, Images, Kept, recipe, sent};
use crate::image::{Knowledge, Plan, Transfer};
use dpfw_dispatch::SlaveId;
use dpfw_protocol::Bytes;
use dpfw_protocol::ids::{ImageId, ModuleHash};
use std::time::Instant;

/// A snapshot that was asked of a slave.
pub(super) struct Fetch {
    from: SlaveId,
    since: Instant,
    wish: Delayed,
}

/// A snapshot that is to be fetched.
#[derive(Default)]
pub(super) struct Delayed {
    /// Who is to have it.
    waiting: Vec<SlaveId>,
    /// Who was asked for it in vain.
    tried: Vec<SlaveId>,
}

/// Where a snapshot can be had.
enum Origin {
    At(SlaveId),
    /// At slaves that are giving others.
    Busy,
    Nowhere,
}

impl Images {
    /// The answer to a slave that waits for a snapshot from another; nothing if none is passed
    /// on.
    pub(super) fn pass(&mut self, plan: &Plan, slave: SlaveId) -> Option<Answer> {
        let fetch = self.fetching.get_mut(&plan.id).map(|fetch| &mut fetch.wish);
        if let Some(wish) = fetch.or_else(|| self.delayed.get_mut(&plan.id)) {
            wish.waiting.push(slave);
            return Some(Answer::Later);
        }
        let wish = Delayed { waiting: vec![slave], tried: Vec::new() };
        self.begin(plan, wish).ok()
    }

    /// Asks a slave for a snapshot now, or later; gives the wish back if none has it.
    fn begin(&mut self, plan: &Plan, wish: Delayed) -> Result<Answer, Delayed> {
        match self.source(plan, &wish) {
            Origin::At(from) => {
                self.fetching.insert(plan.id, Fetch { from, since: Instant::now(), wish });
                Ok(Answer::Fetch(from))
            }
            // Where it may be built as well, that is not waited for.
            Origin::Busy if plan.transfer == Transfer::Always => {
                self.delayed.insert(plan.id, wish);
                Ok(Answer::Later)
            }
            Origin::Busy | Origin::Nowhere => Err(wish),
        }
    }

    fn source(&self, plan: &Plan, wish: &Delayed) -> Origin {
        let mut otherwise = Origin::Nowhere;
        for (slave, standing) in self.standings(plan.id) {
            let ready = &standing.ready;
            let may_give = ready.own
                && !wish.waiting.contains(&slave)
                && !wish.tried.contains(&slave)
                && self.is_quicker(plan, ready.snapshot, ready.init_us, 2.0);
            let is_giving = || self.fetching.values().any(|fetch| fetch.from == slave);
            match may_give {
                true if is_giving() => otherwise = Origin::Busy,
                true => return Origin::At(slave),
                false => {}
            }
        }
        otherwise
    }

    /// A slave that was asked for a snapshot has answered; what those get who wait for it.
    pub(crate) fn fetched(
        &mut self,
        from: SlaveId,
        image: ImageId,
        snapshot: Option<Bytes>,
    ) -> Vec<(ImageId, Answers)> {
        if self.fetching.get(&image).is_none_or(|fetch| fetch.from != from) {
            return Vec::new();
        }
        let Some(Fetch { since, wish, .. }) = self.fetching.remove(&image) else {
            return Vec::new();
        };
        let standing = self.standing(from, image);
        let genuine = snapshot.zip(standing).filter(|(snapshot, standing)| {
            // It was told before what it would be.
            ModuleHash::of(snapshot) == standing.ready.hash
        });
        let kept = genuine.map(|(snapshot, standing)| {
            let init_us = standing.ready.init_us;
            Kept { image, snapshot, init_us }
        });
        if let Some(kept) = kept {
            let taken = since.elapsed().as_secs_f64().max(1e-6);
            self.rate = Some(kept.snapshot.len() as f64 / taken);
            self.kept = Some(kept);
        }
        let mut told = vec![(image, self.after(image, from, wish))];
        told.extend(self.resume());
        told
    }

    /// A slave is gone: what those get who wait for what it was asked for.
    pub(super) fn source_lost(&mut self, slave: SlaveId) -> Vec<(ImageId, Answers)> {
        let fetches = self.fetching.values_mut().map(|fetch| &mut fetch.wish);
        for wish in fetches.chain(self.delayed.values_mut()) {
            wish.waiting.retain(|waiting| *waiting != slave);
        }
        let ended = self.fetching.extract_if(|_, fetch| fetch.from == slave).collect::<Vec<_>>();
        let ended = ended.into_iter();
        let mut told: Vec<_> =
            ended.map(|(image, fetch)| (image, self.after(image, slave, fetch.wish))).collect();
        told.extend(self.resume());
        told
    }

    /// What those get who waited for a fetch that has ended.
    fn after(&mut self, image: ImageId, from: SlaveId, mut wish: Delayed) -> Answers {
        let plan = self.plan(image);
        let kept = self.kept.as_ref().filter(|kept| kept.image == image);
        let is_unknown = |plan: &Plan| matches!(plan.known, Knowledge::Key(_));
        match (plan, kept) {
            (None, _) => wish.all(Answer::nothing),
            (Some(plan), Some(kept)) => wish.all(|| sent(&plan, kept)),
            (Some(plan), None) if is_unknown(&plan) => {
                wish.tried.push(from);
                self.go_on(&plan, wish)
            }
            (Some(plan), None) => wish.all(|| recipe(&plan)),
        }
    }

    /// Asks the next for a snapshot; what those get who wait for it.
    fn go_on(&mut self, plan: &Plan, wish: Delayed) -> Answers {
        // Nobody waits for it any more.
        let Some(first) = wish.waiting.first().copied() else { return Vec::new() };
        match self.begin(plan, wish) {
            Ok(answer) => vec![(first, answer)],
            Err(wish) => wish.all(|| recipe(plan)),
        }
    }

    /// Begins what was put off, where there is a way now.
    pub(super) fn resume(&mut self) -> Vec<(ImageId, Answers)> {
        let delayed: Vec<_> = self.delayed.drain().collect();
        let next = |(image, wish): (ImageId, Delayed)| {
            let answers = match self.plan(image) {
                None => wish.all(Answer::nothing),
                Some(plan) => self.go_on(&plan, wish),
            };
            (image, answers)
        };
        delayed.into_iter().map(next).collect()
    }
}

impl Delayed {
    fn all(self, answer: impl Fn() -> Answer) -> Answers {
        self.waiting.into_iter().map(|slave| (slave, answer())).collect()
    }
}
