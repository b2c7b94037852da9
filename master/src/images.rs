//! What the driver knows of images.
//!
//! Owns: the recipes that slaves may ask for, where images are, the snapshot that is being
//! passed on. Does not: talk to slaves; the driver does. Invariants: a recipe is known for as
//! long as somebody has the image or a task of it; one snapshot is held at most, and it was
//! asked for by a slave.

use crate::image::{Plan, Standing, Transfer};
use dpfw_dispatch::hash::IdMap;
use dpfw_dispatch::{KeyId, SlaveId};
use dpfw_protocol::Bytes;
use dpfw_protocol::ids::{ImageId, ModuleHash};
use dpfw_protocol::message::{ImageReady, Offer};
use dpfw_protocol::payload::Payload;
use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// Bytes a second that are assumed until something was measured: a network of a gigabit.
const ASSUMED: f64 = 100e6;

/// See the module's page.
#[derive(Default)]
pub(crate) struct Images {
    plans: HashMap<ImageId, Weak<Plan>>,
    at: IdMap<SlaveId, HashMap<ImageId, Standing>>,
    fetching: HashMap<ImageId, Fetch>,
    /// Images of which one slave was given the recipe, while others wait to be sent them.
    building: HashMap<ImageId, Build>,
    /// The last that was fetched.
    kept: Option<Kept>,
    /// What the last fetch reached, in bytes a second.
    rate: Option<f64>,
    /// Images that every slave is to have.
    everywhere: Vec<Weak<Plan>>,
}

/// A snapshot that was asked of a slave.
struct Fetch {
    from: SlaveId,
    since: Instant,
    /// Who is to have it.
    waiting: Vec<SlaveId>,
}

/// An image that is to be built once and sent.
struct Build {
    by: SlaveId,
    waiting: Vec<SlaveId>,
}

struct Kept {
    image: ImageId,
    snapshot: Bytes,
    init_us: u64,
}

/// What a slave gets that asks for an image.
pub(crate) enum Answer {
    /// This.
    Bytes(Offer, Payload),
    /// Another slave is to be asked for the snapshot.
    Fetch(SlaveId),
    /// It will be told.
    Later,
}

/// The policy's name of an image. Two that share one are mistaken for each other when tasks are
/// placed, which costs time and nothing else.
pub(crate) fn key_of(image: ImageId) -> KeyId {
    let mut head = [0; 8];
    head.copy_from_slice(&image.as_bytes()[..8]);
    KeyId(1 << 63 | u64::from_le_bytes(head))
}

impl Images {
    /// A task of this image has come.
    pub(crate) fn learn(&mut self, plan: &Arc<Plan>) {
        let id = plan.recipe.id;
        if self.plans.get(&id).is_some_and(|known| known.as_ptr() == Arc::as_ptr(plan)) {
            return;
        }
        self.plans.retain(|_, known| known.strong_count() > 0);
        self.plans.insert(id, Arc::downgrade(plan));
    }

    /// Every slave that comes is to have it.
    pub(crate) fn want_everywhere(&mut self, plan: &Arc<Plan>) {
        self.everywhere.retain(|wanted| wanted.strong_count() > 0);
        if !self.everywhere.iter().any(|wanted| wanted.as_ptr() == Arc::as_ptr(plan)) {
            self.everywhere.push(Arc::downgrade(plan));
        }
    }

    /// What a slave that has come is to have.
    pub(crate) fn wanted(&mut self) -> Vec<Arc<Plan>> {
        self.everywhere.retain(|wanted| wanted.strong_count() > 0);
        self.everywhere.iter().filter_map(Weak::upgrade).collect()
    }

    /// A slave has an image; what those get who waited for it.
    pub(crate) fn ready(&mut self, slave: SlaveId, ready: ImageReady) -> Vec<(SlaveId, Answer)> {
        let image = ready.image;
        let standings = self.at.entry(slave).or_default();
        match standings.get_mut(&ready.image) {
            // It is told again when other tasks of it come; how it came there is known.
            Some(standing) if standing.ready.hash == ready.hash => {}
            _ => drop(standings.insert(ready.image, Standing { ready, heard: Instant::now() })),
        }
        self.built(slave, image)
    }

    /// A slave has built an image, or will not; what those get who waited for it.
    pub(crate) fn built(&mut self, by: SlaveId, image: ImageId) -> Vec<(SlaveId, Answer)> {
        if self.building.get(&image).is_none_or(|build| build.by != by) {
            return Vec::new();
        }
        let waiting = self.building.remove(&image).map(|build| build.waiting);
        let waiting = waiting.unwrap_or_default().into_iter();
        waiting.map(|slave| (slave, self.asked(slave, image))).collect()
    }

    /// A slave has it no more.
    pub(crate) fn gone(&mut self, slave: SlaveId, image: ImageId) {
        if let Some(standings) = self.at.get_mut(&slave) {
            standings.remove(&image);
        }
    }

    /// What is known of an image at a slave.
    pub(crate) fn standing(&self, slave: SlaveId, image: ImageId) -> Option<&Standing> {
        self.at.get(&slave)?.get(&image)
    }

    /// Where an image is.
    pub(crate) fn standings(&self, image: ImageId) -> impl Iterator<Item = (SlaveId, &Standing)> {
        let of = move |(slave, all): (&SlaveId, &'_ HashMap<ImageId, Standing>)| {
            all.contains_key(&image).then_some(*slave)
        };
        let slaves: Vec<_> = self.at.iter().filter_map(of).collect();
        slaves.into_iter().filter_map(move |slave| Some((slave, self.standing(slave, image)?)))
    }

    /// A slave asks for an image.
    pub(crate) fn asked(&mut self, slave: SlaveId, image: ImageId) -> Answer {
        let Some(plan) = self.plans.get(&image).and_then(Weak::upgrade) else {
            return Answer::Bytes(Offer::Nothing, Payload::default());
        };
        if let Some(fetch) = self.fetching.get_mut(&image) {
            fetch.waiting.push(slave);
            return Answer::Later;
        }
        if let Some(kept) = self.kept.as_ref().filter(|kept| kept.image == image)
            && self.is_quicker(&plan, kept.snapshot.len() as u64, kept.init_us, 1.0)
        {
            return sent(&plan, kept);
        }
        let source = self.standings(image).find(|(other, standing)| {
            let ImageReady { snapshot, init_us, .. } = standing.ready;
            *other != slave && standing.is_own() && self.is_quicker(&plan, snapshot, init_us, 2.0)
        });
        match source.map(|(from, _)| from) {
            None if plan.transfer == Transfer::Always => match self.building.get_mut(&image) {
                Some(build) if build.by != slave => {
                    build.waiting.push(slave);
                    Answer::Later
                }
                _ => {
                    self.building.insert(image, Build { by: slave, waiting: Vec::new() });
                    recipe(&plan)
                }
            },
            None => recipe(&plan),
            Some(from) => {
                let fetch = Fetch { from, since: Instant::now(), waiting: vec![slave] };
                self.fetching.insert(image, fetch);
                Answer::Fetch(from)
            }
        }
    }

    /// Whether sending so many bytes so often is quicker than the init was.
    fn is_quicker(&self, plan: &Plan, bytes: u64, init_us: u64, times: f64) -> bool {
        match plan.transfer {
            Transfer::Never => false,
            Transfer::Always => true,
            Transfer::WhenQuicker => {
                let transfer = times * bytes as f64 / self.rate.unwrap_or(ASSUMED);
                Duration::from_secs_f64(transfer) < Duration::from_micros(init_us)
            }
        }
    }

    /// A slave that was asked for a snapshot has answered; what those get who wait for it.
    pub(crate) fn fetched(
        &mut self,
        from: SlaveId,
        image: ImageId,
        snapshot: Option<Bytes>,
    ) -> Vec<(SlaveId, Answer)> {
        if self.fetching.get(&image).is_none_or(|fetch| fetch.from != from) {
            return Vec::new();
        }
        let Some(fetch) = self.fetching.remove(&image) else {
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
            let taken = fetch.since.elapsed().as_secs_f64().max(1e-6);
            self.rate = Some(kept.snapshot.len() as f64 / taken);
            self.kept = Some(kept);
        }
        self.answers(image, fetch.waiting)
    }

    /// A slave is gone: what those get who wait for what it was asked for.
    pub(crate) fn lost(&mut self, slave: SlaveId) -> Vec<(ImageId, Vec<(SlaveId, Answer)>)> {
        self.at.remove(&slave);
        for fetch in self.fetching.values_mut() {
            fetch.waiting.retain(|waiting| *waiting != slave);
        }
        for build in self.building.values_mut() {
            build.waiting.retain(|waiting| *waiting != slave);
        }
        let from = |fetch: &Fetch| fetch.from == slave;
        let ended: Vec<_> = self.fetching.extract_if(|_, fetch| from(fetch)).collect();
        let fetched = ended.into_iter().map(|(image, f)| (image, self.answers(image, f.waiting)));
        let mut told: Vec<_> = fetched.collect();
        let by = |(image, build): (&ImageId, &Build)| (build.by == slave).then_some(*image);
        let unbuilt: Vec<_> = self.building.iter().filter_map(by).collect();
        told.extend(unbuilt.into_iter().map(|image| (image, self.built(slave, image))));
        told
    }

    fn answers(&self, image: ImageId, waiting: Vec<SlaveId>) -> Vec<(SlaveId, Answer)> {
        let plan = self.plans.get(&image).and_then(Weak::upgrade);
        let kept = self.kept.as_ref().filter(|kept| kept.image == image);
        let answer = |slave| {
            let answer = match (&plan, kept) {
                (None, _) => Answer::Bytes(Offer::Nothing, Payload::default()),
                (Some(plan), Some(kept)) => sent(plan, kept),
                (Some(plan), None) => recipe(plan),
            };
            (slave, answer)
        };
        waiting.into_iter().map(answer).collect()
    }

    /// Forgets the snapshot of an image that nobody has any more.
    pub(crate) fn sweep(&mut self) {
        let is_alive = |image| self.plans.get(image).is_some_and(|plan| plan.strong_count() > 0);
        if self.kept.as_ref().is_some_and(|kept| !is_alive(&kept.image)) {
            self.kept = None;
        }
    }
}

fn sent(plan: &Plan, kept: &Kept) -> Answer {
    let (module, init_us) = (plan.recipe.module.hash(), kept.init_us);
    Answer::Bytes(Offer::Snapshot { module, init_us }, kept.snapshot.clone().into())
}

fn recipe(plan: &Plan) -> Answer {
    let recipe = &plan.recipe;
    let Some(wasm) = recipe.module.bytes() else {
        return Answer::Bytes(Offer::Nothing, Payload::default());
    };
    let offer = Offer::Recipe { init: recipe.init.to_string(), module: wasm.len() as u64 };
    let pieces = std::iter::once(wasm.clone()).chain(recipe.args.pieces().cloned());
    Answer::Bytes(offer, pieces.collect())
}

#[cfg(test)]
mod tests;
