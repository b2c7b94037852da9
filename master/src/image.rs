//! Images: memory that was initialised once, and the tasks that start from it.
//!
//! Owns: the handle of an image, and how one is asked for. Does not: know where it is; the
//! driver does.

use crate::error::TaskError;
use crate::handle::{Raw, TaskHandle};
use crate::inbox::Command;
use crate::map::Map;
use crate::master::Master;
use crate::placed::{CallExt, Placed};
use crate::slave::Slave;
use crate::submit::Terms;
use dpfw_dispatch::{Placement, SlaveId};
use dpfw_protocol::call::{Call, Task};
use dpfw_protocol::error::Cause;
use dpfw_protocol::ids::{ImageId, ModuleHash, PeerId};
use dpfw_protocol::image::{Init, Recipe};
use dpfw_protocol::message::{ImageReady, Origin, TaskFlags};
use dpfw_protocol::module::Module;
use dpfw_protocol::payload::Payload;
use dpfw_protocol::store::Key;
use futures_core::Stream;
use futures_core::future::BoxFuture;
use futures_util::future::try_join_all;
use serde::de::DeserializeOwned;
use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// How an image comes to a slave that has not built it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transfer {
    /// It is sent where that is estimated to be quicker than the init was, and built otherwise.
    /// The estimate goes by the last image that was fetched; 100 MB/s before the first.
    #[default]
    WhenQuicker,
    /// It is sent, once one slave has built it.
    Always,
    /// Every slave builds its own.
    Never,
}

/// What an image is, and how it is to be had.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) id: ImageId,
    pub(crate) module: Module,
    pub(crate) init: Arc<str>,
    pub(crate) known: Knowledge,
    /// Where slaves are to keep it.
    pub(crate) key: Option<Key>,
    pub(crate) transfer: Transfer,
    /// Whom it was told that its init is to be run again where it failed, if it is.
    pub(crate) afresh: Option<Afresh>,
}

/// Slaves that were told to run an init again. Bounded by the links that there were while the
/// image was held.
#[derive(Debug, Default)]
pub(crate) struct Afresh(Mutex<HashSet<SlaveId>>);

/// What this master knows of an image.
#[derive(Debug)]
pub(crate) enum Knowledge {
    /// What it is made of: beside the module and the init, these arguments.
    Recipe(Payload),
    /// That it is under this key of slaves' stores, from where it can be had.
    Key(Key),
}

impl Plan {
    pub(crate) fn of(recipe: Recipe, key: Option<Key>, transfer: Transfer) -> Self {
        let Recipe { id, module, init, args } = recipe;
        let (known, afresh) = (Knowledge::Recipe(args), None);
        Self { id, module, init, known, key, transfer, afresh }
    }

    /// Whether a slave is to be told that the init may be run again where it failed: with the
    /// first task that needs it there, and with no other.
    pub(crate) fn begins_afresh(&self, slave: SlaveId) -> bool {
        let told = self.afresh.as_ref().map(|Afresh(told)| told);
        told.is_some_and(|told| told.lock().unwrap_or_else(PoisonError::into_inner).insert(slave))
    }

    /// What an error calls it.
    pub(crate) fn name(&self) -> String {
        match (&self.known, &self.key) {
            (Knowledge::Key(key), _) | (Knowledge::Recipe(_), Some(key)) => key.to_string(),
            (Knowledge::Recipe(_), None) => format!("{} {}", self.init, &self.id.to_hex()[..16]),
        }
    }
}

/// An image at a slave, as the driver knows it.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    pub(crate) ready: ImageReady,
    pub(crate) heard: Instant,
}

impl Standing {
    /// What making it costs.
    pub(crate) fn init(&self) -> Duration {
        Duration::from_micros(self.ready.init_us)
    }
}

/// How an image came to the slave of a task, and what that cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ImageUse {
    /// Whether it was there, or built, or sent, or kept on the slave's disk.
    pub origin: Origin,
    /// What it took until it was ready, from the first task that needed it; nothing if it was
    /// there.
    pub took: Duration,
}

/// An image at a slave.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ImageAt {
    /// The slave.
    pub slave: PeerId,
    /// How it came there.
    pub origin: Origin,
    /// BLAKE3 of the snapshot: the same wherever it was made, if the init used neither clock
    /// nor randomness.
    pub hash: ModuleHash,
    /// Bytes of memory that tasks begin with.
    pub memory_bytes: u64,
    /// Bytes that are sent, if it is.
    pub snapshot_bytes: u64,
    /// What the init took, where it ran.
    pub init: Duration,
    /// What it took until it was ready there.
    pub took: Duration,
}

/// The memory of a module after its init ran: what tasks start from, on any slave.
///
/// A slave builds it when the first task needs it, or is sent it, and keeps it. Cloning names
/// the same image. Dropping the last name of it stops nothing: tasks that were dispatched end as
/// always, and the slaves keep it as long as they have room.
#[derive(Clone)]
pub struct Image {
    master: Master,
    plan: Arc<Plan>,
}

impl Image {
    /// What it is called.
    pub fn id(&self) -> ImageId {
        self.plan.id
    }

    /// Dispatches a task that starts from it, as [`Master::dispatch`] does.
    pub fn dispatch<T>(&self, call: impl Into<Placed<T>>) -> TaskHandle<T> {
        self.master.dispatch(call.into().image(self))
    }

    /// Maps a task that starts from it over inputs, as [`Master::map`] does.
    pub fn map<I, A, T>(
        &self,
        inputs: I,
        call: impl FnMut(A) -> Call<T>,
    ) -> Map<impl Stream<Item = Call<T>>, T>
    where
        I: IntoIterator<Item = A>,
        T: DeserializeOwned,
    {
        self.master.map(inputs, call).image(self)
    }

    /// Where it is, as far as this master has heard.
    pub async fn places(&self) -> Vec<ImageAt> {
        let (answer, answered) = oneshot::channel();
        self.master.0.inbox.tell(Command::Places(self.id(), answer));
        answered.await.unwrap_or_default()
    }

    pub(crate) fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// An image that was looked up.
    pub(crate) fn found(master: Master, plan: Arc<Plan>) -> Self {
        Self { master, plan }
    }

    /// The name of its init.
    pub fn init(&self) -> &str {
        &self.plan.init
    }

    /// The module that it is of.
    pub fn module(&self) -> ModuleHash {
        self.plan.module.hash()
    }
}

impl PartialEq for Image {
    fn eq(&self, other: &Self) -> bool {
        self.id() == other.id()
    }
}

impl Eq for Image {}

impl fmt::Debug for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Plan { id, init, .. } = &*self.plan;
        write!(f, "Image({id} by {init})")
    }
}

/// An image that is asked for; it does nothing until it is awaited.
///
/// It resolves when one slave has the image, to the image or to why it could not be built; with
/// [`everywhere`](Self::everywhere), when all slaves that are linked have it.
#[derive(Debug)]
#[must_use = "an image is made when this is awaited"]
pub struct Initialise {
    master: Master,
    init: Init,
    key: Option<String>,
    transfer: Transfer,
    everywhere: bool,
    afresh: bool,
    timeout: Option<Duration>,
}

impl Initialise {
    /// Keeps it under this key of each slave's store, by which other masters of the namespace
    /// find it with [`Master::image`]. Another image that was there is replaced.
    pub fn named(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Has every slave build it at once: those that are linked, and those that come as long as
    /// the image, or a clone of it, is held.
    pub fn everywhere(mut self) -> Self {
        self.everywhere = true;
        self
    }

    /// Whether it is built or sent, where it is not.
    pub fn transfer(mut self, transfer: Transfer) -> Self {
        self.transfer = transfer;
        self
    }

    /// Runs the init again where it failed before: on each slave once, when the first task that
    /// needs the image comes to it.
    pub fn afresh(mut self) -> Self {
        self.afresh = true;
        self
    }

    /// How long it may take until it is ready. The slaves' own limit on an init's time holds
    /// as well.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    async fn make(self) -> Result<Image, TaskError> {
        let name = self.init.name().to_owned();
        let failed = |cause| TaskError::new(&name, None, 0, cause);
        let recipe = self.init.recipe().map_err(failed)?;
        let key = self.key.map(Key::new).transpose().map_err(failed)?;
        let afresh = self.afresh.then(Afresh::default);
        let plan = Arc::new(Plan { afresh, ..Plan::of(recipe, key, self.transfer) });
        let image = Image { master: self.master, plan };
        let slaves = match self.everywhere {
            true => {
                image.master.0.inbox.tell(Command::Everywhere(Arc::clone(&image.plan)));
                image.master.slaves()
            }
            false => Vec::new(),
        };
        let places: Vec<_> = match slaves.is_empty() {
            true => vec![Placement::Anywhere],
            false => slaves.iter().map(Slave::id).map(Placement::On).collect(),
        };
        let probes = places.into_iter().map(|at| image.probe(at, self.timeout));
        try_join_all(probes.collect::<Vec<_>>()).await?;
        Ok(image)
    }
}

impl Image {
    /// A task that does nothing but need the image.
    fn probe(&self, placement: Placement, timeout: Option<Duration>) -> TaskHandle<()> {
        let task = Task::<()>::new(self.plan.module.clone(), "");
        let image = Some(Arc::clone(&self.plan));
        let (flags, calls) = (TaskFlags::default(), 1);
        let (extras, ports, refused) = (None, None, None);
        let terms = Terms { flags, calls, timeout, extras, placement, ports, refused, image };
        let room = self.master.0.inbox.take_room();
        let raw: Raw = self.master.submit(&task, Ok(Payload::from(NOTHING)), terms, room);
        TaskHandle::new(raw, Arc::clone(&self.plan.init))
    }
}

/// No arguments.
pub(crate) const NOTHING: &[u8] = &[0x90];

impl IntoFuture for Initialise {
    type Output = Result<Image, TaskError>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.make())
    }
}

impl Master {
    /// Makes an image: the memory of a module after this init ran.
    ///
    /// One slave builds it now; others when the first task that needs it comes to them. What
    /// it is made of is held here as long as the image, or a task of it, is.
    ///
    /// # Errors
    /// [`Cause::InitFailed`] if the init returned an error, panicked or trapped, and
    /// [`Cause::Limit`] if it took more time or memory than the slave allows an image. Neither is
    /// tried again until [`Initialise::afresh`] asks for it.
    pub fn init(&self, init: Init) -> Initialise {
        Initialise {
            master: self.clone(),
            init,
            key: None,
            transfer: Transfer::default(),
            everywhere: false,
            afresh: false,
            timeout: None,
        }
    }
}

/// Why a task cannot run on the image that it was given, or without one.
pub(crate) fn check<T>(task: &Task<T>, plan: Option<&Plan>) -> Result<(), Cause> {
    let needs = |init: &str, message| Err(Cause::NeedsImage { init: init.to_owned(), message });
    match (task.needs(), plan) {
        (Some(init), None) => needs(init, format!("`{}` was dispatched without one", task.name())),
        (Some(init), Some(plan)) if *plan.init != *init => {
            needs(init, format!("`{}` was given one of `{}`", task.name(), plan.init))
        }
        (_, Some(plan)) if plan.module != *task.module() => {
            let reason = format!(
                "`{}` is a task of module {}, and the image is of module {}",
                task.name(),
                task.module(),
                plan.module
            );
            Err(Cause::Rejected { reason })
        }
        _ => Ok(()),
    }
}
