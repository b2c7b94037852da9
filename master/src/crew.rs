//! The tasks that bring links, and those that look after residents.
//!
//! Owns: the sources of a master, whoever serves their links, whoever waits for the end of a
//! resident or moves it. Does not: end by itself;
//! the driver ends it as its last act. Invariant: after the end nothing of it runs, and
//! nothing is taken on.

use std::sync::{Mutex, PoisonError};
use tokio::runtime::Handle;
use tokio::task::JoinSet;

/// See the module's page. Bounded by the addresses, ports and streams that the program gave, and
/// by the residents that it holds.
#[derive(Debug)]
pub(crate) struct Crew(Mutex<Option<JoinSet<()>>>);

impl Crew {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Some(JoinSet::new())))
    }

    /// Takes a source on. After the end it is dropped, which closes what it holds.
    pub(crate) fn spawn(
        &self,
        source: impl Future<Output = ()> + Send + 'static,
        runtime: &Handle,
    ) {
        let mut crew = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tasks) = crew.as_mut() {
            // Those that have ended are forgotten; of a panic the runtime has told.
            while tasks.try_join_next().is_some() {}
            tasks.spawn_on(source, runtime);
        }
    }

    /// Ends all of them, and waits until they have ended.
    pub(crate) async fn end(&self) {
        let tasks = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut tasks) = tasks {
            tasks.shutdown().await;
        }
    }
}
