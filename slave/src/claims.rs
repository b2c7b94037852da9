//! Who builds which entry of the keyed store, and who waits for it.
//!
//! Owns: for each key that is being built the one sandbox that builds it, and the others in the
//! order in which they came. Does not: keep what was built; the store does. Invariants: a key
//! has one builder at a time; a builder that ends in whatever way without an entry makes the
//! next of those who wait the builder; no ring of sandboxes waits for itself: it is found when
//! the wait that would close it would begin. Bounded by the sandboxes that may wait, each of
//! which builds at most [`MOST`] entries at a time and waits for one.

use crate::core::Core;
use crate::fiber::control::Control;
use crate::store::Answer;
use dpfw_protocol::Bytes;
use dpfw_protocol::error::{Cause, Limit};
use dpfw_protocol::store::{FullKey, Principal, StoreOp, Terms};
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use tokio::sync::oneshot;

#[cfg(test)]
mod tests;

/// Entries that a sandbox builds at a time, one within the other.
pub(crate) const MOST: usize = 64;

/// A sandbox that builds or waits.
#[derive(Debug)]
pub(crate) struct Who {
    id: u64,
    /// Of its fiber. One that is on none never waits.
    control: Option<Arc<Control>>,
}

/// See the module's page.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    inner: Mutex<Inner>,
    ids: AtomicU64,
}

#[derive(Debug, Default)]
struct Inner {
    builds: HashMap<FullKey, Build>,
    /// What each sandbox waits for that waits.
    waits: HashMap<u64, FullKey>,
}

#[derive(Debug)]
struct Build {
    builder: u64,
    waiting: VecDeque<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    who: Arc<Who>,
    turn: oneshot::Sender<Turn>,
}

/// What a claim comes to.
#[derive(Debug)]
pub(crate) enum Claimed {
    /// The entry is there.
    Hit(Answer),
    /// It is not, and who asked is the one that builds it.
    Build(Claim),
    /// Another builds it.
    Wait(Waiter),
}

/// What one that waits gets.
#[derive(Debug)]
pub(crate) enum Turn {
    /// The entry is there.
    Hit(Answer),
    /// Building failed, and now it is this one's turn.
    Build(Claim),
}

impl Claims {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A sandbox that has not built or waited yet.
    pub(crate) fn who(&self, control: Option<&Arc<Control>>) -> Arc<Who> {
        let id = self.ids.fetch_add(1, Ordering::Relaxed);
        Arc::new(Who { id, control: control.cloned() })
    }

    /// Finds an entry, or who builds it.
    ///
    /// # Errors
    /// [`Cause::Ring`] if who asks would wait for itself.
    pub(crate) fn claim(
        core: &Arc<Core>,
        key: &FullKey,
        owner: &Principal,
        who: &Arc<Who>,
    ) -> Result<Claimed, Cause> {
        let mut inner = core.claims.lock();
        // Under the lock: whoever settles puts the entry first and takes those that wait then,
        // so nobody begins to wait for what is there.
        let found = core.store.apply(
            &key.namespace,
            owner,
            StoreOp::Get { key: key.key.clone() },
            Bytes::new(),
        )?;
        if found.hit {
            return Ok(Claimed::Hit(found));
        }
        inner.look_for_ring(key, who.id)?;
        let Inner { builds, waits } = &mut *inner;
        let Some(build) = builds.get_mut(key) else {
            let build = Build { builder: who.id, waiting: VecDeque::new() };
            builds.insert(key.clone(), build);
            drop(inner);
            return Ok(Claimed::Build(Claim::new(core, key, who)));
        };
        let (turn, gets) = oneshot::channel();
        build.waiting.push_back(Waiting { who: Arc::clone(who), turn });
        waits.insert(who.id, key.clone());
        let (core, key, id) = (Arc::clone(core), key.clone(), who.id);
        Ok(Claimed::Wait(Waiter { core, key, id, gets }))
    }

    /// Makes the next of those who wait the builder; forgets the key if nobody does.
    fn pass(core: &Arc<Core>, key: &FullKey) {
        loop {
            let next = core.claims.lock().next(key);
            let Some(next) = next else {
                return;
            };
            let claim = Claim::new(core, key, &next.who);
            match next.turn.send(Turn::Build(claim)) {
                Ok(()) => return core.queue.rouse(),
                // It has given up meanwhile.
                Err(Turn::Build(claim)) => claim.forget(),
                Err(Turn::Hit(_)) => {}
            }
        }
    }

    /// Keys that are being built, and sandboxes that wait for one.
    #[cfg(test)]
    fn counts(&self) -> (usize, usize) {
        let inner = self.lock();
        (inner.builds.len(), inner.waits.len())
    }
}

impl Inner {
    /// Follows who waits for whom, from the builder of a key on. Nobody waits for more than one
    /// key, so there is one way, and no ring was closed before, so it ends.
    fn look_for_ring(&self, key: &FullKey, asks: u64) -> Result<(), Cause> {
        let (mut keys, mut next) = (Vec::new(), Some(key));
        while let Some(key) = next {
            let Some(build) = self.builds.get(key) else {
                return Ok(());
            };
            keys.push(key.key.as_str().to_owned());
            if build.builder == asks {
                return Err(Cause::Ring { keys });
            }
            next = self.waits.get(&build.builder);
        }
        Ok(())
    }

    /// The next that waits for a key is its builder from now on.
    fn next(&mut self, key: &FullKey) -> Option<Waiting> {
        let build = self.builds.get_mut(key)?;
        match build.waiting.pop_front() {
            Some(next) => {
                build.builder = next.who.id;
                self.waits.remove(&next.who.id);
                Some(next)
            }
            None => {
                self.builds.remove(key);
                None
            }
        }
    }

    /// Nobody builds a key any more; those who have waited for it.
    fn settle(&mut self, key: &FullKey) -> VecDeque<Waiting> {
        let waiting = self.builds.remove(key).map_or_else(VecDeque::new, |build| build.waiting);
        for one in &waiting {
            self.waits.remove(&one.who.id);
        }
        waiting
    }
}

/// The right, and the duty, to build an entry. Whoever lets it go without [`settle`] gives it
/// to the next that waits.
///
/// [`settle`]: Self::settle
pub(crate) struct Claim {
    core: Arc<Core>,
    key: FullKey,
    control: Option<Arc<Control>>,
    /// Somebody else has it, or nobody needs it any more.
    over: bool,
}

impl Claim {
    fn new(core: &Arc<Core>, key: &FullKey, who: &Who) -> Self {
        let control = who.control.clone();
        if let Some(control) = &control {
            control.begin_build();
        }
        Self { core: Arc::clone(core), key: key.clone(), control, over: false }
    }

    /// What it is for.
    pub(crate) fn key(&self) -> &FullKey {
        &self.key
    }

    /// Puts the entry that was built, on these terms, and gives it to all who wait. If there is one by now that
    /// somebody else has put, that one is kept and given. While room is made for it `go_on` is
    /// asked now and then whether to go on.
    ///
    /// # Errors
    /// What the store says. Then the next of those who wait builds it.
    pub(crate) fn settle(
        mut self,
        owner: &Principal,
        value: Bytes,
        terms: Terms,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Answer, Cause> {
        let op = StoreOp::PutIfAbsent { key: self.key.key.clone() };
        let store = &self.core.store;
        let namespace = &self.key.namespace;
        let mut answer = store.apply_on(terms, namespace, owner, op, value.clone(), go_on)?;
        if answer.hit {
            answer.value = value;
        } else {
            let op = StoreOp::Get { key: self.key.key.clone() };
            let present = store.apply(namespace, owner, op, Bytes::new())?;
            // One that was removed in between was there: what was built is as good.
            answer.value = if present.hit { present.value } else { value };
            answer.version = present.version.max(answer.version);
        }
        self.over = true;
        let waiting = self.core.claims.lock().settle(&self.key);
        for one in waiting {
            let (version, value) = (answer.version, answer.value.clone());
            let found = Answer { hit: true, version, value, ..Answer::default() };
            // One that does not wait any more needs nothing.
            let _ = one.turn.send(Turn::Hit(found));
        }
        Ok(answer)
    }

    fn forget(mut self) {
        self.over = true;
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Some(control) = &self.control {
            control.end_build();
        }
        if !self.over {
            Claims::pass(&self.core, &self.key);
        }
    }
}

impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Claim").field(&self.key).finish()
    }
}

/// One that waits for an entry; dropped, it does not any more.
pub(crate) struct Waiter {
    core: Arc<Core>,
    key: FullKey,
    id: u64,
    gets: oneshot::Receiver<Turn>,
}

impl Future for Waiter {
    type Output = Turn;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Turn> {
        match ready!(Pin::new(&mut self.gets).poll(cx)) {
            Ok(turn) => Poll::Ready(turn),
            // Whoever takes it out of the list sends it something; it is never dropped there.
            Err(_) => Poll::Pending,
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut inner = self.core.claims.lock();
        if inner.waits.remove(&self.id).is_some()
            && let Some(build) = inner.builds.get_mut(&self.key)
        {
            build.waiting.retain(|one| one.who.id != self.id);
        }
    }
}

impl fmt::Debug for Waiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Waiter").field(&self.key).finish()
    }
}

/// Whether a sandbox may build one entry more.
///
/// # Errors
/// [`Cause::Limit`] if not.
pub(crate) fn check(builds: usize) -> Result<(), Cause> {
    match builds < MOST {
        true => Ok(()),
        false => Err(Cause::Limit { limit: Limit::Claims, allowed: MOST as u64 }),
    }
}
