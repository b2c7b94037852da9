//! The thread that keeps idle links alive.
//!
//! One for the process, started with the first link. Neither a guest nor a busy runtime
//! delays it. Once a second it says on every link what the link's owner gave it to say; where
//! that is nothing, it appends a heartbeat if nothing was written since. It writes that itself on a
//! link on which nothing was written; on others it goes with what is written next, within a second.
//! A peer that takes nothing of what waits for it is cut off then, and so is one whose
//! certificate is none any more.
//! Invariant: it knows a link exactly as long as the link lives.

use crate::outbox::Outbox;
use crate::security::proof::Proof;
use crate::security::tls::Chain;
use dpfw_protocol::ids::ConversationId;
use dpfw_protocol::limits::HEARTBEAT;
use dpfw_protocol::message::Heartbeat;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

static HEART: OnceLock<Arc<Heart>> = OnceLock::new();

struct Heart {
    /// Bounded by the number of links.
    links: Mutex<HashMap<u64, Pulse>>,
    joined: Condvar,
}

/// What is done for a link at each beat.
#[derive(Clone)]
struct Pulse {
    outbox: Outbox,
    patience: Patience,
    /// Its peer's certificate, which may expire or be revoked.
    chain: Option<Chain>,
    /// What the link's owner says; else a heartbeat, if nothing was said.
    own: Option<Arc<dyn Fn() + Send + Sync>>,
}

/// How long a peer may take nothing of what waits for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    /// For [`STALL`](dpfw_protocol::limits::STALL).
    Limited,
    /// For ever: it is this process, which may be busy, and is not gone.
    Endless,
}

/// Keeps a link's heart beating until it is dropped.
#[derive(Debug)]
pub struct Beat(u64);

/// Lets the heart beat for a link.
pub(crate) fn beat(outbox: &Outbox, patience: Patience, proof: &Proof) -> Beat {
    let chain = match proof {
        Proof::Certificate(chain) => Some(chain.clone()),
        _ => None,
    };
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let id = NEXT.fetch_add(1, Ordering::Relaxed);
    let heart = HEART.get_or_init(start);
    heart.lock().insert(id, Pulse { outbox: outbox.clone(), patience, chain, own: None });
    heart.joined.notify_one();
    Beat(id)
}

impl Beat {
    /// From now on this is done at each beat, and has to append something. It runs on the
    /// heart's thread, which no other link may wait for: it must not block.
    pub fn say(&self, say: impl Fn() + Send + Sync + 'static) {
        if let Some(heart) = HEART.get()
            && let Some(pulse) = heart.lock().get_mut(&self.0)
        {
            pulse.own = Some(Arc::new(say));
        }
    }
}

impl Drop for Beat {
    fn drop(&mut self) {
        if let Some(heart) = HEART.get() {
            // Dropped behind the lock: what it says may hold what has other links in it.
            let pulse = heart.lock().remove(&self.0);
            drop(pulse);
        }
    }
}

impl Heart {
    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Pulse>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a link, then for the time of the next beat, and gives the links.
    fn wait(&self) -> Vec<Pulse> {
        let due = Instant::now() + HEARTBEAT;
        let mut links = self.lock();
        loop {
            let left = due.saturating_duration_since(Instant::now());
            links = match (links.is_empty(), left.is_zero()) {
                (true, _) => self.joined.wait(links).unwrap_or_else(PoisonError::into_inner),
                (false, true) => return links.values().cloned().collect(),
                (false, false) => {
                    let waited = self.joined.wait_timeout(links, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }
}

fn start() -> Arc<Heart> {
    let heart = Arc::new(Heart { links: Mutex::default(), joined: Condvar::new() });
    let thread = std::thread::Builder::new().name("dpfw-heart".into());
    let beating = Arc::clone(&heart);
    if let Err(error) = thread.spawn(move || run(&beating)) {
        tracing::error!(%error, "no thread for heartbeats: idle links will be taken for dead");
    }
    heart
}

fn run(heart: &Heart) {
    loop {
        for Pulse { outbox, patience, chain, own } in heart.wait() {
            if let Some(why) = chain.as_ref().and_then(Chain::refusal) {
                outbox.refuse(&why);
                continue;
            }
            let is_quiet = outbox.beat(patience);
            match own {
                Some(say) => say(),
                None if is_quiet => {
                    // A heartbeat always fits a frame.
                    let _ = outbox.message(ConversationId::LINK, &Heartbeat {});
                }
                None => {}
            }
            if is_quiet {
                outbox.flush();
            }
        }
    }
}
