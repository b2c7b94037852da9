//! What links and residents need of their master.
//!
//! Owns: nothing but the ways there. Does not: keep the master alive; when it has ended nothing
//! is spawned and nobody is linked.

use crate::crew::Crew;
use crate::inbox::Inbox;
use crate::resident::clock::Clock;
use crate::slave::Linked;
use dpfw_protocol::ids::PeerId;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::Instant;

/// See the module's page.
#[derive(Debug)]
pub(crate) struct Home {
    pub(crate) inbox: Arc<Inbox>,
    registry: Weak<watch::Sender<Vec<Arc<Linked>>>>,
    crew: Arc<Crew>,
    runtime: Handle,
    /// How long a slave whose link is lost may come back: twice the pauses between the tries at it.
    patience: Duration,
    /// The slaves whose links were lost last, and when. Bounded by how many are lost in `MISSED`.
    missing: Mutex<Vec<(PeerId, Instant)>>,
    pub(crate) clock: Clock,
}

/// So long a slave whose link was lost is taken to come back at once, as after a reset: it is dialled
/// anew meanwhile.
const MISSED: Duration = Duration::from_secs(2);

/// What became of a slave whose link was lost.
pub(crate) enum Back {
    /// It is linked again.
    Again(Arc<Linked>),
    /// It is gone: another process has its name.
    Gone,
    /// It did not come.
    Never,
}

impl Home {
    pub(crate) fn new(
        inbox: Arc<Inbox>,
        registry: &crate::driver::Registry,
        crew: Arc<Crew>,
        runtime: Handle,
        patience: Duration,
    ) -> Arc<Self> {
        let registry = Arc::downgrade(registry);
        let (missing, clock) = (Mutex::default(), Clock::default());
        Arc::new(Self { inbox, registry, crew, runtime, patience, missing, clock })
    }

    /// The slaves that are linked now.
    pub(crate) fn slaves(&self) -> Vec<Arc<Linked>> {
        self.registry.upgrade().map_or_else(Vec::new, |registry| registry.borrow().clone())
    }

    /// The first of the linked slaves that is meant.
    pub(crate) fn slave(&self, is: impl Fn(&Linked) -> bool) -> Option<Arc<Linked>> {
        let registry = self.registry.upgrade()?;
        registry.borrow().iter().find(|linked| is(linked)).cloned()
    }

    /// The link to a slave is lost, which has not said goodbye. Said before it is out of the linked
    /// slaves, so that whoever looks at these first finds it among the one or the other.
    pub(crate) fn has_lost(&self, slave: &PeerId) {
        let mut missing = self.missing.lock().unwrap_or_else(PoisonError::into_inner);
        missing.retain(|(name, since)| name != slave && since.elapsed() < MISSED);
        missing.push((slave.clone(), Instant::now()));
    }

    /// Whether the link to a slave that is not among these was lost a moment ago.
    pub(crate) fn misses(&self, slaves: &[Arc<Linked>]) -> bool {
        let missing = self.missing.lock().unwrap_or_else(PoisonError::into_inner);
        let is_linked = |name: &PeerId| slaves.iter().any(|linked| linked.hello.peer == *name);
        missing.iter().any(|(name, since)| since.elapsed() < MISSED && !is_linked(name))
    }

    /// Waits until a look at the linked slaves says what became of one whose link was lost, no longer
    /// than its patience. On the master's runtime.
    pub(crate) async fn back(&self, look: impl Fn(&[Arc<Linked>]) -> Option<Back>) -> Back {
        let back = tokio::time::timeout(self.patience, self.until(look)).await;
        back.ok().flatten().unwrap_or(Back::Never)
    }

    /// Waits until a look at the linked slaves has found something; nothing if the master ends.
    pub(crate) async fn until<T>(&self, look: impl Fn(&[Arc<Linked>]) -> Option<T>) -> Option<T> {
        let mut slaves = self.registry.upgrade()?.subscribe();
        loop {
            let found = look(&slaves.borrow_and_update());
            if found.is_some() {
                return found;
            }
            slaves.changed().await.ok()?;
        }
    }

    /// Has something done that ends with the master.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.crew.spawn(work, &self.runtime);
    }

    /// Waits, whoever polls this.
    pub(crate) async fn pause(&self, pause: Duration) {
        let slept = self.runtime.spawn(tokio::time::sleep(pause));
        // It ends early only with the runtime.
        let _ = slept.await;
    }
}
