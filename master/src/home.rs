//! What links and residents need of their master.
//!
//! Owns: nothing but the ways there. Does not: keep the master alive; when it has ended nothing
//! is spawned and nobody is linked.

use crate::crew::Crew;
use crate::inbox::Inbox;
use crate::resident::clock::Clock;
use crate::slave::Linked;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::watch;

/// See the module's page.
#[derive(Debug)]
pub(crate) struct Home {
    pub(crate) inbox: Arc<Inbox>,
    registry: Weak<watch::Sender<Vec<Arc<Linked>>>>,
    crew: Arc<Crew>,
    runtime: Handle,
    /// How long a slave whose link is lost may come back: twice the pauses between the tries at it.
    patience: Duration,
    pub(crate) clock: Clock,
}

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
        Arc::new(Self { inbox, registry, crew, runtime, patience, clock: Clock::default() })
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

    /// Waits until a look at the linked slaves says what became of one whose link was lost, no longer
    /// than its patience. On the master's runtime.
    pub(crate) async fn back(&self, look: impl Fn(&[Arc<Linked>]) -> Option<Back>) -> Back {
        let Some(mut slaves) = self.registry.upgrade().map(|registry| registry.subscribe()) else {
            return Back::Never;
        };
        let comes = async {
            loop {
                let back = look(&slaves.borrow_and_update());
                if let Some(back) = back {
                    return back;
                }
                if slaves.changed().await.is_err() {
                    return Back::Never;
                }
            }
        };
        tokio::time::timeout(self.patience, comes).await.unwrap_or(Back::Never)
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
