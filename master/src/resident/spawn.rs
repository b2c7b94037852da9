//! Spawning residents.
//!
//! Owns: on what terms one is spawned. Does not: place it; spawning is a task that the policy
//! places, and never tries again once it may have run.

use super::Resident;
use super::agreed::agreed;
use super::failure::Hook;
use super::requests::window;
use super::search::{Found, find_at_all, give_way};
use crate::error::TaskError;
use crate::handle::parked;
use crate::home::Home;
use crate::master::Master;
use crate::reserve::Reserved;
use crate::slave::{Linked, Slave};
use crate::submit::{Terms, submit};
use dpfw_dispatch::Placement;
use dpfw_protocol::call::Task;
use dpfw_protocol::error::Cause;
use dpfw_protocol::message::{Extras, SpawnAs, Spawned, TaskFlags, There};
use dpfw_protocol::payload::{self, Payload};
use dpfw_protocol::resident::{Mailbox, ResidentInfo, Saving, Spawn, class_of};
use dpfw_protocol::restart::Restart;
use dpfw_protocol::store::Key;
use dpfw_protocol::task_limits::TaskLimits;
use futures_core::future::BoxFuture;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A resident that is to be spawned; nothing happens until it is awaited.
///
/// It resolves to the resident when its constructor has run. If its slave is lost meanwhile it may
/// have been spawned, and is not spawned again elsewhere ([`Cause::SlaveLost`]).
#[must_use = "a resident is spawned when this is awaited"]
pub struct Spawning<R> {
    home: Arc<Home>,
    at: At,
    key: String,
    spawn: Spawn<R>,
    terms: SpawnTerms,
    limits: Option<TaskLimits>,
    timeout: Option<Duration>,
    hook: Option<Hook>,
}

/// Where it is to be.
#[derive(Clone, Debug)]
enum At {
    Placed(Placement),
    /// Where it is, else where all masters that see the same slaves would put it.
    Agreed,
}

#[derive(Clone, Copy, Debug, Default)]
struct SpawnTerms {
    there: There,
    restart: Option<Restart>,
    on_restart: Mailbox,
    mailbox: u32,
    saving: Saving,
    durable: bool,
}

impl Master {
    /// Spawns a resident on the least loaded slave: the one that has least to run. Residents that
    /// nobody calls are no load.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let master = dpfw::Master::builder().build().await?;
    /// use dpfw::Restart;
    /// use quickstart_tasks::counter;
    /// use std::time::Duration;
    ///
    /// let policy = Restart::every(Duration::from_secs(1)).retries(3);
    /// let c = master.spawn("hits", counter::new(0)).restart(policy).tell_on_restart().await?;
    /// println!("{c}");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// When awaited: [`Cause::KeyTaken`] if there is an entry under the key at that slave, what
    /// its constructor failed with, and whatever ends a task.
    pub fn spawn<R>(&self, key: impl Into<String>, spawn: Spawn<R>) -> Spawning<R> {
        Spawning::new(&self.0.home, At::Placed(Placement::Anywhere), key.into(), spawn)
    }

    /// The resident under this key, at whichever slave it is; if there is none it is spawned, at
    /// the slave that the key chooses among those that are linked. Of many who ask at once, also
    /// of several masters that see the same slaves, one spawns it, and all get it.
    ///
    /// Slaves that are not linked are not asked: if one of them has it, alive or asleep, there are
    /// two then, and whoever sees both is told so. One whose link was lost less than two seconds
    /// ago is waited for until then, if there is none elsewhere.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let master = dpfw::Master::builder().build().await?;
    /// use quickstart_tasks::counter;
    ///
    /// let first = master.get_or_spawn("hits", counter::new(0)).await?;
    /// let second = master.get_or_spawn("hits", counter::new(0)).await?;
    /// assert_eq!(first, second);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// When awaited: [`Cause::ResidentTwice`] if it is on more than one slave, also asleep,
    /// [`Cause::SlaveLost`] if a slave is lost meanwhile that may have it, [`Cause::KeyTaken`]
    /// if the entry under the key is something else, what its constructor failed with, and
    /// whatever ends a task.
    pub fn get_or_spawn<R>(&self, key: impl Into<String>, spawn: Spawn<R>) -> Spawning<R> {
        Spawning::new(&self.0.home, At::Agreed, key.into(), spawn).there(There::Take)
    }
}

impl Slave {
    /// Spawns a resident on this slave.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let master = dpfw::Master::builder().build().await?;
    /// use quickstart_tasks::counter;
    ///
    /// let slave = master.reserve().await?;
    /// let c = slave.spawn("uniqID", counter::new(0)).await?;
    /// assert_eq!(c.call(counter::bump()).await?, 1);
    /// assert_eq!(c.call(counter::bump()).await?, 2);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// When awaited: [`Cause::KeyTaken`] if there is an entry under the key, what its constructor
    /// failed with, and whatever ends a task.
    pub fn spawn<R>(&self, key: impl Into<String>, spawn: Spawn<R>) -> Spawning<R> {
        let at = At::Placed(Placement::On(self.id()));
        Spawning::new(&self.0.home, at, key.into(), spawn)
    }

    /// The resident under this key on this slave; if there is none it is spawned. Of many who ask
    /// at once, also of several masters, one spawns it, and all get it.
    ///
    /// # Errors
    /// When awaited: [`Cause::KeyTaken`] if the entry under the key is something else, what its
    /// constructor failed with, and whatever ends a task.
    pub fn get_or_spawn<R>(&self, key: impl Into<String>, spawn: Spawn<R>) -> Spawning<R> {
        self.spawn(key, spawn).there(There::Take)
    }
}

impl Reserved {
    /// Spawns a resident on the reserved slave; see [`Slave::spawn`].
    ///
    /// # Errors
    /// As [`Slave::spawn`].
    pub fn spawn<R>(&self, key: impl Into<String>, spawn: Spawn<R>) -> Spawning<R> {
        Spawning::new(&self.master().0.home, At::Placed(self.placement()), key.into(), spawn)
    }

    /// The resident under this key on the reserved slave; see [`Slave::get_or_spawn`].
    ///
    /// # Errors
    /// As [`Slave::get_or_spawn`].
    pub fn get_or_spawn<R>(&self, key: impl Into<String>, spawn: Spawn<R>) -> Spawning<R> {
        self.spawn(key, spawn).there(There::Take)
    }
}

impl<R> Spawning<R> {
    fn new(home: &Arc<Home>, at: At, key: String, spawn: Spawn<R>) -> Self {
        let (home, terms) = (Arc::clone(home), SpawnTerms::default());
        Self { home, at, key, spawn, terms, limits: None, timeout: None, hook: None }
    }

    fn there(mut self, there: There) -> Self {
        self.terms.there = there;
        self
    }

    /// Begins it again when it has failed: a call panicked, trapped, was interrupted or went over
    /// a limit. Unless this is said, it ends then. An error value that a method returns is no
    /// failure.
    ///
    /// It is made by its constructor again, with the same arguments, or of what it saved last, if
    /// it saves.
    pub fn restart(mut self, restart: Restart) -> Self {
        self.terms.restart = Some(restart);
        self
    }

    /// When it is begun again, the calls in its mailbox fail with [`Cause::ResidentRestarted`].
    /// Unless this is said, they stay and are answered by the one that was begun again.
    pub fn tell_on_restart(mut self) -> Self {
        self.terms.on_restart = Mailbox::Tell;
        self
    }

    /// So many calls of each master may be in its mailbox, the one that runs among them; what is
    /// beyond waits at the master. The slave's own choice unless this is said, and at most what
    /// it allows.
    pub fn mailbox(mut self, calls: u32) -> Self {
        self.terms.mailbox = calls;
        self
    }

    /// When its state is saved, if it offers `save` and `load`; half a second after what changed it
    /// unless this is said, so that it is on disk within a second.
    pub fn saving(mut self, saving: Saving) -> Self {
        self.terms.saving = saving;
        self
    }

    /// What it saves is on its slave's disk before the callers that changed it are answered.
    pub fn durable(mut self) -> Self {
        self.terms.durable = true;
        self
    }

    /// May use less than its slave allows.
    pub fn limits(mut self, limits: TaskLimits) -> Self {
        self.limits = Some(limits);
        self
    }

    /// How long it may take until the constructor has run.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Is called once if the resident fails for good: it is not begun again by its policy, or it
    /// is lost with its slave ([`Cause::ResidentLost`]). Not if it is stopped, nor if it moves or a
    /// link is lost: it is lost when another process comes in its slave's name, or nobody does for
    /// twice as long as that is dialled. Also of a resident that `get_or_spawn` has found. It runs on
    /// the master's runtime and should not block.
    pub fn on_final_failure(mut self, hook: impl FnOnce(TaskError) + Send + 'static) -> Self {
        self.hook = Some(Box::new(hook));
        self
    }

    /// Spawns it in blocking code; see [`TaskHandle::join`](crate::TaskHandle::join).
    ///
    /// # Errors
    /// [`TaskError`] if there is no resident afterwards.
    pub fn join(self) -> Result<Resident<R>, TaskError>
    where
        R: 'static,
    {
        parked(&mut self.into_future())
    }

    async fn make(self) -> Result<Resident<R>, TaskError> {
        let Self { home, at, key, spawn, terms, limits, timeout, hook } = self;
        let (task, args) = spawn.into_call().into_parts();
        let name = task.shared_name();
        let failed = |cause| TaskError::new(&name, None, 0, cause);
        let key = Key::new(key).map_err(failed)?;
        let mut gives_way = Vec::new();
        let placement = match at {
            At::Placed(placement) => placement,
            At::Agreed => match find_at_all(&home, &key).await.map_err(failed)? {
                Found::One(linked, info, _) => {
                    let class = class_of(task.name());
                    super::find::check(&info, class).map_err(failed)?;
                    return Ok(held(&linked, &info, &task, hook));
                }
                Found::Asleep(linked, _, left) => {
                    gives_way = left;
                    Placement::On(linked.id)
                }
                Found::Nowhere => agreed(&home, &key)
                    .map_or(Placement::Anywhere, |linked| Placement::On(linked.id)),
            },
        };
        let spawn = terms.of(key);
        let extras = Extras { limits, ..Extras::default() };
        let (linked, spawned) =
            spawn_at(&home, &task, args, placement, (spawn, extras), timeout).await?;
        give_way(&linked, &spawned.resident, &gives_way).await;
        Ok(held(&linked, &spawned.resident, &task, hook))
    }
}

/// What whoever asked for it holds of a resident that is there.
fn held<R>(
    linked: &Arc<Linked>,
    info: &ResidentInfo,
    task: &Task<()>,
    hook: Option<Hook>,
) -> Resident<R> {
    let resident = Resident::new(window(linked, info));
    resident.window.module.get_or_init(|| task.module().clone());
    if let Some(hook) = hook {
        resident.tell_of_failure(hook);
    }
    resident
}

impl SpawnTerms {
    fn of(self, key: Key) -> SpawnAs {
        let Self { there, restart, on_restart, mailbox, saving, durable } = self;
        let (state, held, lineage) = (None, false, None);
        SpawnAs { key, there, restart, on_restart, mailbox, saving, durable, state, held, lineage }
    }
}

/// Has one slave make a resident, and gives what it says of it.
pub(super) async fn spawn_at(
    home: &Arc<Home>,
    task: &Task<()>,
    args: Result<Payload, String>,
    placement: Placement,
    (spawn, extras): (SpawnAs, Extras),
    timeout: Option<Duration>,
) -> Result<(Arc<Linked>, Spawned), TaskError> {
    let key = spawn.key.clone();
    let extras = Some(Box::new(Extras { spawn: Some(Box::new(spawn)), ..extras }));
    let flags = task.flags().with(TaskFlags::ONCE);
    let (calls, ports, image, refused) = (1, None, None, None);
    let terms = Terms { flags, calls, timeout, extras, placement, ports, refused, image };
    let raw = submit(&home.inbox, task, args, terms, home.inbox.take_room());
    let bytes = std::future::poll_fn(|cx| raw.poll(cx)).await?;
    let at = raw.ticket.receipt().and_then(|receipt| receipt.at);
    let slave = at.as_ref().map(|at| at.name().clone());
    let bad = |message| TaskError::new(task.name(), slave, 1, Cause::BadResult { message });
    let spawned = match payload::decode::<Spawned>(bytes) {
        Ok(spawned) => spawned,
        Err(error) => return Err(bad(error.to_string())),
    };
    let is_it = spawned.resident.key == key && spawned.resident.class == class_of(task.name());
    match at.filter(|_| is_it) {
        Some(Slave(linked)) => Ok((linked, spawned)),
        None => Err(bad("the slave has spawned another resident".into())),
    }
}

impl<R: 'static> IntoFuture for Spawning<R> {
    type Output = Result<Resident<R>, TaskError>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.make())
    }
}

impl<R> fmt::Debug for Spawning<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Spawning({} under {:?}, {:?}, {:?})", self.spawn, self.key, self.at, self.terms)
    }
}
