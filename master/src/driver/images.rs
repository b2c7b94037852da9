//! What the driver does about images.

use super::{Driver, Entry};
use crate::image::{ImageAt, ImageUse, NOTHING, Plan};
use crate::images::Answer;
use crate::inbox::Submission;
use crate::keys::Name;
use crate::ticket::Ticket;
use dpfw_dispatch::{Event, Placement, SlaveId, TaskId};
use dpfw_protocol::Bytes;
use dpfw_protocol::error::Cause;
use dpfw_protocol::ids::{AttemptId, ConversationId, ImageId};
use dpfw_protocol::message::{
    FetchImage, ImageBytes, ImageReady, NeedImage, Offer, Origin, TaskFlags,
};
use dpfw_protocol::payload::Payload;
use std::sync::Arc;
use std::time::{Duration, Instant};

impl Driver {
    /// A slave lacks an image that it was told of.
    pub(super) fn need_image(&mut self, slave: SlaveId, need: NeedImage) {
        let NeedImage { image, refused } = need;
        let Some(told) = self.slaves.get_mut(&slave) else {
            return;
        };
        let answer = match told.may_ask(*image.as_bytes()) {
            true => self.images.asked(slave, image, refused),
            false => {
                tracing::warn!(slave = %told.linked.hello.peer, %image, "asked again");
                Answer::nothing()
            }
        };
        self.give_image(image, vec![(slave, answer)]);
    }

    /// A slave has an image.
    pub(super) fn image_ready(&mut self, slave: SlaveId, ready: ImageReady) {
        let Some(told) = self.slaves.get_mut(&slave) else {
            return;
        };
        told.has(*ready.image.as_bytes());
        let (image, cost) = (ready.image, Duration::from_micros(ready.init_us));
        let answers = self.images.ready(slave, ready);
        self.give_image(image, answers);
        let key = self.keys.intern(Name::Image(image));
        self.image_at(slave, key, cost);
    }

    /// A slave has an image no more.
    pub(super) fn no_image(&mut self, slave: SlaveId, image: ImageId) {
        let told = self.images.gone(slave, image);
        self.give_images(told);
        if let Some(key) = self.keys.find(&Name::Image(image)) {
            self.handle(Event::KeyGone { slave, key });
        }
    }

    /// An image was looked up, and found at these slaves.
    pub(super) fn found_image(&mut self, plan: &Arc<Plan>, at: Vec<(SlaveId, ImageReady)>) {
        self.images.learn(plan);
        at.into_iter().for_each(|(slave, ready)| self.image_ready(slave, ready));
    }

    /// Why a task does not run whose image its slave neither has nor gets: on another slave that
    /// has it, it may.
    pub(super) fn image_gone(&self, slave: SlaveId, attempt: AttemptId, cause: Cause) -> Cause {
        let entry = self.entry_of(slave, attempt);
        let Some((entry, plan)) = entry.and_then(|entry| Some((entry, entry.image.as_ref()?)))
        else {
            return cause;
        };
        let is_elsewhere = || self.images.standings(plan.id).any(|(other, _)| other != slave);
        match entry.may_move && is_elsewhere() {
            true => Cause::Busy { what: format!("the image `{}` is not here", plan.name()) },
            false => Cause::ImageGone { image: plan.name() },
        }
    }

    /// Tells slaves what they get that asked for images.
    pub(super) fn give_images(&mut self, told: Vec<(ImageId, Vec<(SlaveId, Answer)>)>) {
        told.into_iter().for_each(|(image, answers)| self.give_image(image, answers));
    }

    /// Tells slaves what they get that asked for an image.
    fn give_image(&mut self, image: ImageId, answers: Vec<(SlaveId, Answer)>) {
        for (slave, answer) in answers {
            match answer {
                Answer::Bytes(offer, payload) => self.offer_image(slave, image, offer, payload),
                Answer::Fetch(from) => {
                    let Some(told) = self.slaves.get(&from) else { continue };
                    let conversation = told.linked.conversation();
                    self.fetches.insert((from, conversation), image);
                    self.tell(from, conversation, &FetchImage { image });
                }
                Answer::Later => {}
            }
        }
    }

    fn offer_image(&mut self, slave: SlaveId, image: ImageId, offer: Offer, payload: Payload) {
        let Some(told) = self.slaves.get_mut(&slave) else {
            return;
        };
        let message = ImageBytes { image, offer, payload: payload.len() as u64 };
        let conversation = told.linked.conversation();
        if let Err(error) = told.linked.outbox.message_with(conversation, &message, payload) {
            tracing::error!(%error, "an image cannot be sent");
        }
        told.mark(slave, &mut self.dirty);
    }

    /// A task has failed where its image is not: others do not wait for that any more.
    pub(super) fn not_built(&mut self, slave: SlaveId, task: Option<TaskId>) {
        let entry = task.and_then(|task| self.tasks.get(&task));
        let Some(image) = entry.and_then(|entry| Some(entry.image.as_ref()?.id)) else {
            return;
        };
        if self.images.standing(slave, image).is_none() {
            let answers = self.images.built(slave, image);
            self.give_image(image, answers);
        }
    }

    /// A slave that was asked for a snapshot has answered.
    pub(super) fn fetched(
        &mut self,
        from: SlaveId,
        conversation: ConversationId,
        said: Result<Bytes, Cause>,
    ) {
        let Some(image) = self.fetches.remove(&(from, conversation)) else {
            return;
        };
        if let Err(cause) = &said {
            tracing::info!(%image, %cause, "an image cannot be had from a slave that has it");
        }
        let told = self.images.fetched(from, image, said.ok());
        self.give_images(told);
    }

    /// A slave that has come is to have an image.
    pub(super) fn have_built(&self, slave: SlaveId, plan: Arc<Plan>) {
        let Some(room) = self.inbox.take_room() else {
            return tracing::warn!(image = %plan.id, "no room to ask a new slave for it");
        };
        let submission = Submission {
            room,
            ticket: Arc::new(Ticket::new()),
            module: plan.module.clone(),
            name: "".into(),
            expects: None,
            flags: TaskFlags::default(),
            args: NOTHING.into(),
            calls: 1,
            deadline: None,
            extras: None,
            placement: Placement::On(slave),
            ports: None,
            image: Some(plan),
        };
        // If the master ends, nobody needs it.
        let _ = self.inbox.submit(Box::new(submission));
    }

    /// How the image of a task came to its slave, where it was sent at that time.
    pub(super) fn image_use(
        &self,
        entry: &Entry,
        slave: SlaveId,
        sent: Instant,
    ) -> Option<ImageUse> {
        let image = entry.image.as_ref()?.id;
        let standing = self.images.standing(slave, image)?;
        // It was there if its slave had said so before the task was sent.
        match sent > standing.heard {
            true => Some(ImageUse { origin: Origin::There, took: Duration::ZERO }),
            false => {
                let took = Duration::from_micros(standing.ready.took_us);
                Some(ImageUse { origin: standing.ready.origin, took })
            }
        }
    }

    pub(super) fn places(&self, image: ImageId) -> Vec<ImageAt> {
        let at = |(slave, standing): (SlaveId, &crate::image::Standing)| {
            let slave = self.slaves.get(&slave)?.linked.hello.peer.clone();
            let ready = &standing.ready;
            Some(ImageAt {
                slave,
                origin: ready.origin,
                hash: ready.hash,
                memory_bytes: ready.memory,
                snapshot_bytes: ready.snapshot,
                init: Duration::from_micros(ready.init_us),
                took: Duration::from_micros(ready.took_us),
            })
        };
        self.images.standings(image).filter_map(at).collect()
    }
}
