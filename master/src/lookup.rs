//! Looking an image up by its key.
//!
//! Owns: what slaves are asked, and what is made of their answers. Does not: move images; the
//! driver does when tasks need them. Invariant: a look-up changes nothing in any store.

use crate::image::{Image, Knowledge, Plan, Transfer};
use crate::inbox::Command;
use crate::master::Master;
use crate::slave::Slave;
use crate::store::StoreError;
use dpfw_dispatch::SlaveId;
use dpfw_protocol::error::Cause;
use dpfw_protocol::ids::{ImageId, PeerId};
use dpfw_protocol::message::{ImageReady, Origin};
use dpfw_protocol::module::Module;
use dpfw_protocol::store::{EntryInfo, EntryKind, ImageInfo, Key};
use futures_core::future::BoxFuture;
use futures_util::future::join_all;
use std::fmt;
use std::sync::Arc;

/// An image was not found by its key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LookupError {
    /// Nobody is linked who could have it.
    #[error("there is no slave to ask for the image `{key}`")]
    NoSlaves {
        /// The key.
        key: String,
    },
    /// No slave has an entry of this key.
    #[error("no slave has an image `{key}` ({asked} asked); `init(..).named(..)` makes one")]
    Absent {
        /// The key.
        key: String,
        /// How many slaves were asked.
        asked: usize,
    },
    /// A slave has something else under this key.
    #[error("`{key}` is no image on {slave}: its entry is of the kind `{kind}`")]
    WrongKind {
        /// The key.
        key: String,
        /// The slave.
        slave: PeerId,
        /// What its entry is.
        kind: EntryKind,
    },
    /// Slaves have different images under this key.
    #[error("`{key}` is not the same image everywhere: {}; `.on(&slave)` chooses", Each(images))]
    Differ {
        /// The key.
        key: String,
        /// Which image each slave has.
        images: Vec<(PeerId, ImageId)>,
    },
    /// The image was sent to its slave by a master whose tasks alone it serves, and no slave that
    /// was asked has built it.
    #[error("`{key}` on {slave} was sent there by {owner}, and serves the tasks of no other")]
    NotShared {
        /// The key.
        key: String,
        /// The slave.
        slave: PeerId,
        /// The master that sent it.
        owner: PeerId,
    },
    /// The text is no key.
    #[error("this is no key: {cause}")]
    BadKey {
        /// Why.
        cause: Cause,
    },
    /// A slave did not answer, and no other has it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Which slave has which.
struct Each<'a>(&'a [(PeerId, ImageId)]);

impl fmt::Display for Each<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, (slave, image)) in self.0.iter().enumerate() {
            let comma = if n == 0 { "" } else { ", " };
            write!(f, "{comma}{} on {slave}", &image.to_hex()[..16])?;
        }
        Ok(())
    }
}

/// An image that is looked up; it does nothing until it is awaited.
#[derive(Debug)]
#[must_use = "an image is looked up when this is awaited"]
pub struct Lookup {
    master: Master,
    key: String,
    on: Option<Slave>,
}

impl Master {
    /// Looks an image up that a master of this namespace made and [named](crate::Initialise::named)
    /// so, this one or another: all slaves that are linked are asked what is under the key.
    ///
    /// Tasks start from it as from one that this master initialised. What it is made of is not
    /// known here, so a slave that lacks it is sent the snapshot from one that has built it. When
    /// no slave has it any more, its tasks end with [`Cause::ImageGone`].
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let master = dpfw::Master::builder().build().await?;
    /// let error = master.image("index").await.expect_err("nobody has made it");
    /// assert!(matches!(error, dpfw::LookupError::Absent { .. }));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`LookupError`] if nobody has it, if the key holds something else somewhere, or if slaves
    /// have different images under it: [`Lookup::on`] chooses one.
    pub fn image(&self, key: impl Into<String>) -> Lookup {
        Lookup { master: self.clone(), key: key.into(), on: None }
    }
}

impl Lookup {
    /// Asks this slave alone. Tasks may run elsewhere all the same.
    pub fn on(mut self, slave: &Slave) -> Self {
        self.on = Some(slave.clone());
        self
    }

    async fn find(self) -> Result<Image, LookupError> {
        let key = Key::new(self.key).map_err(|cause| LookupError::BadKey { cause })?;
        let slaves = self.on.map_or_else(|| self.master.slaves(), |slave| vec![slave]);
        if slaves.is_empty() {
            return Err(LookupError::NoSlaves { key: key.to_string() });
        }
        let look = async |slave: &Slave| slave.store().look(&key).await;
        let answers = join_all(slaves.iter().map(look)).await;
        let (mut found, mut failed) = (Vec::new(), None);
        for (slave, answer) in slaves.iter().zip(answers) {
            match answer {
                Ok(entry) => found.extend(entry.map(|entry| (slave, entry))),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        let chosen = Found { key: &key, found }.choose(&self.master.0.peer)?;
        let Some((image, at)) = chosen else {
            let absent = || LookupError::Absent { key: key.to_string(), asked: slaves.len() };
            return Err(failed.map_or_else(absent, LookupError::from));
        };
        let plan = Arc::new(Plan {
            id: image.id,
            module: Module::known(image.module),
            init: image.init.as_str().into(),
            known: Knowledge::Key(key),
            // Where it is sent, its sender is in the name that the slave gives it.
            key: None,
            transfer: Transfer::Always,
            afresh: None,
        });
        self.master.0.inbox.tell(Command::Found(Arc::clone(&plan), at));
        Ok(Image::found(self.master, plan))
    }
}

impl IntoFuture for Lookup {
    type Output = Result<Image, LookupError>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.find())
    }
}

/// What slaves have under a key.
struct Found<'a> {
    key: &'a Key,
    found: Vec<(&'a Slave, EntryInfo)>,
}

impl Found<'_> {
    /// The image, and the slaves on which tasks of this master may start from it; nothing if
    /// nobody has an entry.
    #[expect(clippy::type_complexity, reason = "the two belong together here alone")]
    fn choose(
        self,
        master: &PeerId,
    ) -> Result<Option<(ImageInfo, Vec<(SlaveId, ImageReady)>)>, LookupError> {
        let key = || self.key.to_string();
        let mut images = Vec::new();
        for (slave, entry) in self.found {
            let Some(image) = entry.image else {
                let slave = slave.name().clone();
                return Err(LookupError::WrongKind { key: key(), slave, kind: entry.kind });
            };
            images.push((slave, entry.owner.0, *image));
        }
        let Some((slave, owner, first)) = images.first() else { return Ok(None) };
        if images.iter().any(|(.., image)| image.id != first.id) {
            let each =
                |(slave, _, image): &(&Slave, PeerId, ImageInfo)| (slave.name().clone(), image.id);
            let images = images.iter().map(each).collect();
            return Err(LookupError::Differ { key: key(), images });
        }
        let at: Vec<_> = images
            .iter()
            .filter(|(_, owner, image)| image.origin != Origin::Sent || owner == master)
            .map(|(slave, _, image)| (slave.id(), ready(image)))
            .collect();
        if at.is_empty() {
            let (slave, owner) = (slave.name().clone(), owner.clone());
            return Err(LookupError::NotShared { key: key(), slave, owner });
        }
        Ok(Some((first.clone(), at)))
    }
}

/// What a slave says of an image that is there.
fn ready(image: &ImageInfo) -> ImageReady {
    let ImageInfo { id, hash, snapshot, memory, init_us, origin, .. } = *image;
    let own = origin != Origin::Sent;
    let (image, origin) = (id, Origin::There);
    ImageReady { image, origin, hash, snapshot, memory, init_us, took_us: 0, own }
}
