//! Watching the stores of all slaves, those to come included.

use super::{Changes, Event, StoreError};
use crate::master::Master;
use crate::slave::{Linked, Slave};
use dpfw_dispatch::SlaveId;
use futures_core::Stream;
use futures_core::future::BoxFuture;
use futures_util::StreamExt;
use futures_util::stream::{BoxStream, FuturesUnordered, SelectAll};
use std::collections::HashSet;
use std::fmt;
use std::future::IntoFuture;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::watch;

/// A watch of all slaves that begins when this is awaited: [`Master::watch`].
#[must_use = "nothing is watched until it is awaited"]
pub struct WatchEverywhere {
    prefix: String,
    present: bool,
    slaves: watch::Receiver<Vec<Arc<Linked>>>,
    master: watch::Receiver<()>,
}

impl Master {
    /// Watches the entries whose keys begin with `prefix`, of all slaves. When it is awaited, it
    /// has begun at those that are linked; those that come are watched as soon as they are linked.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let master = dpfw::Master::builder().build().await?;
    /// use dpfw::store::Event;
    /// use futures_util::StreamExt;
    ///
    /// let store = master.slaves().pop().expect("the one within the process").store();
    /// store.put("found/1", "here").await?;
    /// let mut changes = master.watch("found/").with_present().await?;
    /// let Some((slave, Event::Changed(change))) = changes.next().await else { panic!("lost") };
    /// println!("{} is {} at {slave}", change.key, change.what);
    /// # assert_eq!(change.key, "found/1");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Store::watch`](super::Store::watch), of the first slave that fails. One that comes
    /// later and fails brings an [`Event::Lost`].
    pub fn watch(&self, prefix: &str) -> WatchEverywhere {
        let (slaves, master) = (self.0.registry.subscribe(), self.0.driver.clone());
        WatchEverywhere { prefix: prefix.into(), present: false, slaves, master }
    }
}

impl WatchEverywhere {
    /// Tells the entries first that are there, at each slave.
    pub fn with_present(mut self) -> Self {
        self.present = true;
        self
    }
}

impl IntoFuture for WatchEverywhere {
    type Output = Result<Everywhere, StoreError>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let mut all = All {
                known: HashSet::new(),
                starting: FuturesUnordered::new(),
                changes: SelectAll::new(),
                over: false,
                watch: self,
            };
            all.look();
            while let Some((slave, begun)) = all.starting.next().await {
                all.add(slave, begun?);
            }
            let events = futures_util::stream::unfold(all, async |mut all| {
                all.next().await.map(|event| (event, all))
            });
            Ok(Everywhere(events.boxed()))
        })
    }
}

impl fmt::Debug for WatchEverywhere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WatchEverywhere").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

/// The changes of all slaves' entries, each with its slave: a stream, which ends with the
/// master. Dropping it ends the watch.
#[must_use = "dropping it ends the watch"]
pub struct Everywhere(BoxStream<'static, (Slave, Event)>);

impl Stream for Everywhere {
    type Item = (Slave, Event);

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_next_unpin(cx)
    }
}

impl fmt::Debug for Everywhere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Everywhere")
    }
}

/// All slaves, each watched once.
struct All {
    watch: WatchEverywhere,
    /// Those that are linked and were looked at.
    known: HashSet<SlaveId>,
    starting: FuturesUnordered<BoxFuture<'static, (Slave, Result<Changes, StoreError>)>>,
    changes: SelectAll<BoxStream<'static, (Slave, Event)>>,
    /// The master has ended.
    over: bool,
}

impl All {
    /// Begins to watch the slaves that came since.
    fn look(&mut self) {
        let linked = self.watch.slaves.borrow_and_update().clone();
        self.known.retain(|id| linked.iter().any(|linked| linked.id == *id));
        for linked in linked {
            if self.known.insert(linked.id) {
                let slave = Slave(linked);
                let mut watch = slave.store().watch(&self.watch.prefix);
                if self.watch.present {
                    watch = watch.with_present();
                }
                self.starting.push(Box::pin(async move { (slave, watch.await) }));
            }
        }
    }

    fn add(&mut self, slave: Slave, changes: Changes) {
        self.changes.push(changes.map(move |event| (slave.clone(), event)).boxed());
    }

    async fn next(&mut self) -> Option<(Slave, Event)> {
        loop {
            tokio::select! {
                changed = self.watch.slaves.changed(), if !self.over => match changed {
                    Ok(()) => self.look(),
                    Err(_) => self.over = true,
                },
                Err(_) = self.watch.master.changed(), if !self.over => self.over = true,
                Some((slave, begun)) = self.starting.next() => match begun {
                    Ok(changes) => self.add(slave, changes),
                    Err(_) => return Some((slave, Event::Lost)),
                },
                Some(event) = self.changes.next() => return Some(event),
                else => return None,
            }
        }
    }
}
