//! What the driver knows of images.
//!
//! Owns: the recipes that slaves may ask for, where images are, the snapshot that is being
//! passed on. Does not: talk to slaves; the driver does. Invariants: a recipe is known for as
//! long as somebody has the image or a task of it; one snapshot is held at most, and it was
//! asked for by a slave; a slave is asked for one at a time, as it gives no more.

mod passing;

use crate::image::{Knowledge, Plan, Standing, Transfer};
use dpfw_dispatch::SlaveId;
use dpfw_dispatch::hash::IdMap;
use dpfw_protocol::Bytes;
use dpfw_protocol::ids::ImageId;
use dpfw_protocol::message::{ImageReady, Offer, Origin};
use dpfw_protocol::payload::Payload;
use passing::{Delayed, Fetch};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// Bytes a second that are assumed until something was measured: a network of a gigabit.
const ASSUMED: f64 = 100e6;

/// See the module's page.
#[derive(Default)]
pub(crate) struct Images {
    /// Of an image there may be several, of which some were looked up.
    plans: HashMap<ImageId, Vec<Weak<Plan>>>,
    at: IdMap<SlaveId, HashMap<ImageId, Standing>>,
    fetching: HashMap<ImageId, Fetch>,
    /// Images that are fetched when a slave that has them gives no other.
    delayed: HashMap<ImageId, Delayed>,
    /// Images of which one slave was given the recipe, while others wait to be sent them.
    building: HashMap<ImageId, Build>,
    /// The last that was fetched.
    kept: Option<Kept>,
    /// What the last fetch reached, in bytes a second.
    rate: Option<f64>,
    /// Images that every slave is to have.
    everywhere: Vec<Weak<Plan>>,
    /// Slaves that refused the snapshot of an image when nobody knew what it is made of, which
    /// they remember. Bounded by the images that they were sent.
    refusing: HashSet<(SlaveId, ImageId)>,
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

/// What slaves get that asked for an image.
type Answers = Vec<(SlaveId, Answer)>;

impl Answer {
    /// The master has nothing of it.
    pub(crate) fn nothing() -> Self {
        Self::Bytes(Offer::Nothing, Payload::default())
    }
}

impl Images {
    /// A task of this image has come.
    pub(crate) fn learn(&mut self, plan: &Arc<Plan>) {
        let is_known = |known: &Weak<Plan>| known.as_ptr() == Arc::as_ptr(plan);
        if self.plans.get(&plan.id).is_some_and(|plans| plans.iter().any(is_known)) {
            return;
        }
        self.plans.retain(|_, plans| {
            plans.retain(|known| known.strong_count() > 0);
            !plans.is_empty()
        });
        self.plans.entry(plan.id).or_default().push(Arc::downgrade(plan));
    }

    /// What is known of an image: what it is made of, if anybody told.
    fn plan(&self, image: ImageId) -> Option<Arc<Plan>> {
        let plans = self.plans.get(&image)?.iter().filter_map(Weak::upgrade);
        plans.max_by_key(|plan| matches!(plan.known, Knowledge::Recipe(_)))
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
    pub(crate) fn ready(&mut self, slave: SlaveId, ready: ImageReady) -> Answers {
        let image = ready.image;
        let standings = self.at.entry(slave).or_default();
        match standings.get_mut(&ready.image) {
            // It is told again when other tasks of it come; how it came there is known, but where
            // it was looked up, and was on disk alone until a task needed it.
            Some(standing)
                if standing.ready.hash == ready.hash
                    && (standing.ready.origin != Origin::There
                        || ready.origin == Origin::There) =>
            {
                standing.ready.own |= ready.own;
            }
            _ => drop(standings.insert(ready.image, Standing { ready, heard: Instant::now() })),
        }
        self.built(slave, image)
    }

    /// A slave has built an image, or will not; what those get who waited for it.
    pub(crate) fn built(&mut self, by: SlaveId, image: ImageId) -> Answers {
        if self.building.get(&image).is_none_or(|build| build.by != by) {
            return Vec::new();
        }
        let waiting = self.building.remove(&image).map(|build| build.waiting);
        let waiting = waiting.unwrap_or_default().into_iter();
        waiting.map(|slave| (slave, self.asked(slave, image, false))).collect()
    }

    /// A slave has it no more.
    pub(crate) fn gone(&mut self, slave: SlaveId, image: ImageId) -> Vec<(ImageId, Answers)> {
        if let Some(standings) = self.at.get_mut(&slave) {
            standings.remove(&image);
        }
        self.resume()
    }

    /// What is known of an image at a slave.
    pub(crate) fn standing(&self, slave: SlaveId, image: ImageId) -> Option<&Standing> {
        self.at.get(&slave)?.get(&image)
    }

    /// Where an image is.
    pub(crate) fn standings(&self, image: ImageId) -> impl Iterator<Item = (SlaveId, &Standing)> {
        self.at.iter().filter_map(move |(slave, all)| Some((*slave, all.get(&image)?)))
    }

    /// A slave asks for an image; or, if it refused the snapshot, for what it is made of.
    pub(crate) fn asked(&mut self, slave: SlaveId, image: ImageId, refused: bool) -> Answer {
        let Some(plan) = self.plan(image) else {
            return Answer::nothing();
        };
        if refused {
            if matches!(plan.known, Knowledge::Key(_)) {
                self.refusing.insert((slave, image));
            }
            return recipe(&plan);
        }
        if let Some(kept) = self.kept.as_ref().filter(|kept| kept.image == image)
            && self.is_quicker(&plan, kept.snapshot.len() as u64, kept.init_us, 1.0)
        {
            return sent(&plan, kept);
        }
        if let Some(answer) = self.pass(&plan, slave) {
            return answer;
        }
        match plan.transfer {
            Transfer::Always if matches!(plan.known, Knowledge::Recipe(_)) => {
                match self.building.get_mut(&image) {
                    Some(build) if build.by != slave => {
                        build.waiting.push(slave);
                        Answer::Later
                    }
                    _ => {
                        self.building.insert(image, Build { by: slave, waiting: Vec::new() });
                        recipe(&plan)
                    }
                }
            }
            _ => recipe(&plan),
        }
    }

    /// Whether a slave is to be told, with a task of this image, that what it refused may be made
    /// after all: it is known what of. Once.
    pub(crate) fn relents(&mut self, plan: &Plan, slave: SlaveId) -> bool {
        let is_known = matches!(plan.known, Knowledge::Recipe(_));
        is_known && !self.refusing.is_empty() && self.refusing.remove(&(slave, plan.id))
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

    /// A slave is gone: what those get who wait for what it was asked for.
    pub(crate) fn lost(&mut self, slave: SlaveId) -> Vec<(ImageId, Answers)> {
        self.at.remove(&slave);
        self.refusing.retain(|(refusing, _)| *refusing != slave);
        for build in self.building.values_mut() {
            build.waiting.retain(|waiting| *waiting != slave);
        }
        let mut told = self.source_lost(slave);
        let by = |(image, build): (&ImageId, &Build)| (build.by == slave).then_some(*image);
        let unbuilt: Vec<_> = self.building.iter().filter_map(by).collect();
        told.extend(unbuilt.into_iter().map(|image| (image, self.built(slave, image))));
        told
    }

    /// Forgets the snapshot of an image that nobody has any more.
    pub(crate) fn sweep(&mut self) {
        let is_alive = |kept: &Kept| self.plan(kept.image).is_some();
        if !self.kept.as_ref().is_some_and(is_alive) {
            self.kept = None;
        }
    }
}

fn sent(plan: &Plan, kept: &Kept) -> Answer {
    let (module, init, init_us) = (plan.module.hash(), plan.init.to_string(), kept.init_us);
    Answer::Bytes(Offer::Snapshot { module, init, init_us }, kept.snapshot.clone().into())
}

fn recipe(plan: &Plan) -> Answer {
    let (Some(wasm), Knowledge::Recipe(args)) = (plan.module.bytes(), &plan.known) else {
        return Answer::nothing();
    };
    let offer = Offer::Recipe { init: plan.init.to_string(), module: wasm.len() as u64 };
    let pieces = std::iter::once(wasm.clone()).chain(args.clone().into_pieces());
    Answer::Bytes(offer, pieces.collect())
}

#[cfg(test)]
mod tests;
