//! A master's own end in order: nothing new, what is out comes to its end, then goodbye.
//!
//! Owns: what the caller learns of it. Does not: decide when all has ended; the driver sees
//! that. Invariant: after a drain the master has ended, whatever did not.

use crate::inbox::Command;
use crate::master::Master;
use dpfw_protocol::ids::PeerId;
use std::fmt;
use std::time::Duration;
use tokio::sync::oneshot;

/// What had not ended when a master's drain was over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unended {
    /// How many tasks.
    pub tasks: usize,
    /// Some of them by name, at most [`Unended::NAMED`], those that were at a slave first.
    pub named: Vec<Named>,
}

/// A task that had not ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Named {
    /// The task's name.
    pub task: String,
    /// The slave that had it; `None` if it waited in the master.
    pub slave: Option<PeerId>,
}

impl Unended {
    /// Tasks that are named at most.
    pub const NAMED: usize = 100;
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.slave {
            Some(slave) => write!(f, "`{}` on {slave}", self.task),
            None => write!(f, "`{}`, which was not begun", self.task),
        }
    }
}

impl Master {
    /// Ends the master in order: nothing new is taken on, tasks that were dispatched have up
    /// to `limit` to end, then it is [shut down](Self::shutdown). Gives what had not ended.
    ///
    /// What is dispatched from now on, the rest of a map included, resolves with
    /// [`Cause::Shutdown`](dpfw_protocol::error::Cause::Shutdown). Dropping the future leaves
    /// a master that takes on nothing new; it ends when it is dropped or shut down.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use quickstart_tasks::add;
    /// use std::time::Duration;
    ///
    /// let master = dpfw::Master::builder().build().await?;
    /// let sum = master.dispatch(add::call(2, 3));
    /// let unended = master.drain(Duration::from_secs(30)).await;
    /// assert_eq!(unended.tasks, 0);
    /// assert_eq!(sum.await?, 5);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn drain(&self, limit: Duration) -> Unended {
        self.0.inbox.refuse();
        let (answer, ended) = oneshot::channel();
        self.0.inbox.tell(Command::Drain(answer));
        let unended = match tokio::time::timeout(limit, ended).await {
            Ok(_) => Unended::default(),
            Err(_) => {
                let (answer, unended) = oneshot::channel();
                self.0.inbox.tell(Command::Unended(answer));
                // Who has ended meanwhile has left nothing.
                unended.await.unwrap_or_default()
            }
        };
        self.shutdown().await;
        unended
    }
}
