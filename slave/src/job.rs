//! An attempt on its way to a slot.

use crate::grants::Grant;
use crate::kept::Keys;
use crate::module::code::Wanted;
use crate::module::facts::Kind;
use crate::module::load::Loaded;
use crate::residents::Spawning;
use crate::session::{Held, Session};
use crate::shares::Taken;
use dpfw_protocol::error::Cause;
use dpfw_protocol::ids::{AttemptId, ModuleHash};
use dpfw_protocol::message::{Bind, BindImage, BindResident, TaskFlags};
use dpfw_protocol::recycle::Arrived;
use dpfw_protocol::resident::class_of;
use dpfw_protocol::signature::Signature;
use dpfw_protocol::store::Key;
use dpfw_protocol::task_limits::TaskLimits;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// One attempt, with all that it needs to run.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) session: Arc<Session>,
    pub(crate) _held: Held,
    pub(crate) attempt: AttemptId,
    pub(crate) bound: Arc<Bound>,
    pub(crate) args: Arrived,
    pub(crate) flags: TaskFlags,
    /// What its caller allows, where that is less than the operator does.
    pub(crate) limits: Option<Box<TaskLimits>>,
    /// As what it spawns a resident, if its task is a constructor.
    pub(crate) spawn: Option<Box<Spawning>>,
    /// The keys that it names.
    pub(crate) keys: Option<Box<Keys>>,
    /// Why the image that was sent for it was not taken.
    pub(crate) refused: Option<Box<Cause>>,
    pub(crate) arrived: Instant,
    pub(crate) deadline: Option<Instant>,
}

impl Job {
    /// Under which key its result stays here.
    pub(crate) fn keep(&self) -> Option<&Key> {
        self.keys.as_ref()?.keep.as_ref()
    }
}

/// A task as a session declared it.
#[derive(Debug)]
pub(crate) struct Bound {
    pub(crate) module: ModuleHash,
    /// The image that it runs on, if it does.
    pub(crate) image: Option<Wanted>,
    pub(crate) task: String,
    /// Whether it is a constructor of residents.
    pub(crate) is_constructor: bool,
    expects: Option<Signature>,
    target: OnceLock<Result<Target, Cause>>,
    /// A running mean of what a run takes, in microseconds.
    cost_us: AtomicU32,
    /// What it takes of its principal's.
    pub(crate) room: Option<Arc<Taken>>,
}

/// A task found in its module.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) module: Arc<Loaded>,
    /// The index of the function in the module's sorted list.
    pub(crate) function: usize,
    /// What it was granted; nothing for most.
    pub(crate) grant: Option<Arc<Grant>>,
}

impl Target {
    /// Whether it may wait without a slot: so may all that have files, which may keep them.
    pub(crate) fn waits(&self) -> bool {
        self.module.facts().waits || self.has_directories()
    }

    /// Whether it was granted directories.
    pub(crate) fn has_directories(&self) -> bool {
        self.grant.as_ref().is_some_and(|grant| grant.directories.is_some())
    }
}

/// The function of a task that does nothing but need its image.
pub(crate) const NOTHING: usize = usize::MAX;

impl Bound {
    pub(crate) fn new(bind: Bind) -> Self {
        Self {
            module: bind.module,
            image: None,
            is_constructor: false,
            task: bind.task,
            expects: bind.expects,
            target: OnceLock::new(),
            cost_us: AtomicU32::new(0),
            room: None,
        }
    }

    /// A task on an image, as a session declared it.
    pub(crate) fn on_image(bind: BindImage, session: &Session) -> Self {
        let BindImage { bind, image, module, key, task, expects } = bind;
        let image = Some(Wanted::new(image, key, session));
        Self { image, ..Self::new(Bind { bind, module, task, expects }) }
    }

    /// A constructor, as a session declared it.
    pub(crate) fn of_resident(bind: BindResident) -> Self {
        let BindResident { bind, module, constructor: task, expects } = bind;
        Self { is_constructor: true, ..Self::new(Bind { bind, module, task, expects }) }
    }

    /// The same, as if it had never been called.
    pub(crate) fn afresh(&self) -> Self {
        Self {
            module: self.module,
            image: self.image.clone(),
            task: self.task.clone(),
            is_constructor: self.is_constructor,
            expects: self.expects.clone(),
            target: OnceLock::new(),
            cost_us: AtomicU32::new(self.cost_us.load(Ordering::Relaxed)),
            room: self.room.clone(),
        }
    }

    /// About how many bytes it takes.
    pub(crate) fn bytes(&self) -> u64 {
        let key = self.image.as_ref().and_then(|wanted| wanted.key.as_ref());
        let key = key.map_or(0, |key| key.as_str().len());
        let expects = self.expects.as_ref().map_or(0, Signature::bytes);
        (size_of::<Self>() + self.task.len() + key + expects) as u64
    }

    /// Whether its image has gone since it was last called.
    pub(crate) fn is_stale(&self) -> bool {
        matches!(self.target.get(), Some(Ok(target)) if target.module.is_gone())
    }

    /// The task, if its module has been there before.
    pub(crate) fn target(&self) -> Option<&Result<Target, Cause>> {
        self.target.get()
    }

    /// Finds the task in its module, which is there now, and was granted this.
    pub(crate) fn find(
        &self,
        module: Arc<Loaded>,
        grant: Option<Arc<Grant>>,
    ) -> &Result<Target, Cause> {
        self.target.get_or_init(|| {
            let function = self.function_in(&module)?;
            Ok(Target { module, function, grant })
        })
    }

    fn function_in(&self, module: &Loaded) -> Result<usize, Cause> {
        if self.is_constructor {
            return module.method(&self.task, self.expects.as_ref());
        }
        let facts = module.facts();
        if let Some(needed) = facts.needs(&self.task) {
            self.check_image(module, needed)?;
        }
        if self.image.is_some() && self.task.is_empty() {
            return Ok(NOTHING);
        }
        let Ok(function) = facts.functions.binary_search(&self.task) else {
            let known = facts.functions.iter().take(KNOWN).cloned().collect();
            return Err(Cause::MissingTask { name: self.task.clone(), known });
        };
        if let Some(expects) = &self.expects
            && facts.kind == Kind::Task
            && let Some(actual) = facts.table().signature(&self.task)
        {
            expects.check(&actual)?;
        }
        Ok(function)
    }

    /// Whether it runs on the image that it needs.
    fn check_image(&self, module: &Loaded, needed: &str) -> Result<(), Cause> {
        let message = match &module.artifact.image {
            Some(image) if image.init == needed => return Ok(()),
            Some(image) => format!("`{}` was given one of `{}`", self.task, image.init),
            None => format!("`{}` was dispatched without one", self.task),
        };
        Err(Cause::NeedsImage { init: needed.to_owned(), message })
    }

    /// What a run takes, as far as is known.
    pub(crate) fn cost(&self) -> Duration {
        Duration::from_micros(u64::from(self.cost_us.load(Ordering::Relaxed)))
    }

    /// Learns from a run: an eighth of the difference, as TCP does for round trips.
    pub(crate) fn learn(&self, run: Duration) {
        let run = u32::try_from(run.as_micros()).unwrap_or(u32::MAX);
        let mean = self.cost_us.load(Ordering::Relaxed);
        let next =
            if run > mean { mean + (run - mean).div_ceil(8) } else { mean - (mean - run) / 8 };
        if next != mean {
            self.cost_us.store(next, Ordering::Relaxed);
        }
    }
}

impl Loaded {
    /// The place of a constructor or a method of a resident in the module's list, if it is what
    /// its caller believes it to be.
    ///
    /// # Errors
    /// [`Cause::MissingTask`] if there is none; [`Cause::Mismatch`] with what differs.
    pub(crate) fn method(&self, name: &str, expects: Option<&Signature>) -> Result<usize, Cause> {
        let facts = self.facts();
        let Ok(place) = facts.residents.binary_search_by(|known| known.as_str().cmp(name)) else {
            return Err(self.missing_method(name, |_| true));
        };
        if let (Some(expects), Some(actual)) = (expects, facts.table().method(name)) {
            expects.check(&actual)?;
        }
        Ok(place)
    }

    /// What is told to whoever named none that there is for him; it lists those of the class
    /// that are.
    pub(crate) fn missing_method(&self, name: &str, is_for_him: impl Fn(&str) -> bool) -> Cause {
        let its = self.facts().residents.iter().filter(|known| class_of(known) == class_of(name));
        let known = its.filter(|known| is_for_him(known)).take(KNOWN).cloned().collect();
        Cause::MissingTask { name: name.into(), known }
    }
}

/// Names that an error about a missing task lists.
const KNOWN: usize = 20;
