//! Whom a side that is dialled lets in.
//!
//! Owns: the handshakes that are under way at a port, of which there is a bound. Does not:
//! count links; whoever has them says who may have another. Invariant: of too many
//! handshakes the oldest gives way, and is told: an honest one takes a moment, one that is
//! drawn out to keep others away takes as long as it may.

use crate::error::LinkError;
use dpfw_protocol::hello::Hello;
use dpfw_protocol::limits::MAX_HANDSHAKES;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// Says whether a peer may have a link; the error tells it why not.
pub type Admit<'a> = &'a (dyn Fn(&Hello) -> Result<(), LinkError> + Send + Sync);

/// What is decided at one handshake.
pub struct Gate<'a> {
    /// Whether the peer is heard before anything is said: it may be refused, and learns it
    /// instead of a hello.
    pub hears_first: bool,
    /// Whom it admits.
    pub admit: Admit<'a>,
    /// Its place among the handshakes at a port.
    pub turn: Option<Turn>,
}

impl Gate<'_> {
    /// Lets everybody in.
    pub fn open() -> Self {
        Self { hears_first: false, admit: &|_| Ok(()), turn: None }
    }
}

impl std::fmt::Debug for Gate<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gate").field("hears_first", &self.hears_first).finish_non_exhaustive()
    }
}

/// The handshakes at a port. Cloning shares them.
#[derive(Clone, Debug, Default)]
pub struct Handshakes(Arc<Mutex<Waiting>>);

#[derive(Debug, Default)]
struct Waiting {
    next: u64,
    /// At most [`MAX_HANDSHAKES`].
    turns: VecDeque<(u64, oneshot::Sender<()>)>,
}

/// One handshake's place, until it is dropped.
#[derive(Debug)]
pub struct Turn {
    all: Handshakes,
    number: u64,
    over: oneshot::Receiver<()>,
}

impl Handshakes {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A handshake begins; if there are too many, the oldest one ends.
    pub fn begin(&self) -> Turn {
        let (sender, over) = oneshot::channel();
        let mut waiting = self.lock();
        let number = waiting.next;
        waiting.next += 1;
        if waiting.turns.len() >= MAX_HANDSHAKES {
            // Its sender is dropped, which it hears.
            waiting.turns.pop_front();
        }
        waiting.turns.push_back((number, sender));
        drop(waiting);
        Turn { all: self.clone(), number, over }
    }

    /// How many are under way.
    pub fn count(&self) -> usize {
        self.lock().turns.len()
    }
}

impl Turn {
    /// Resolves when the handshake has to give way.
    pub(crate) async fn is_over(&mut self) -> LinkError {
        // Nothing is ever sent.
        let _ = (&mut self.over).await;
        LinkError::Refused(format!("busy: more than {MAX_HANDSHAKES} handshakes at once"))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut waiting = self.all.lock();
        if let Ok(place) = waiting.turns.binary_search_by_key(&self.number, |turn| turn.0) {
            waiting.turns.remove(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn f57_the_oldest_of_too_many_handshakes_gives_way() {
        let all = Handshakes::default();
        let mut turns: Vec<Turn> = (0..MAX_HANDSHAKES).map(|_| all.begin()).collect();
        assert_eq!(all.count(), MAX_HANDSHAKES);
        // One that ends makes room, wherever it stood.
        drop(turns.remove(7));
        turns.push(all.begin());
        assert!(turns[0].over.try_recv() == Err(oneshot::error::TryRecvError::Empty));
        turns.push(all.begin());
        assert!(turns[0].over.try_recv() == Err(oneshot::error::TryRecvError::Closed));
        let error = turns[0].is_over().await;
        assert!(error.to_string().starts_with("busy"), "{error}");
        assert!(turns[1].over.try_recv() == Err(oneshot::error::TryRecvError::Empty));
        assert_eq!(all.count(), MAX_HANDSHAKES);
        drop(turns);
        assert_eq!(all.count(), 0);
    }
}
