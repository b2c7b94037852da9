//! Whom a side that is dialled lets in.
//!
//! Owns: the handshakes that are under way at a port, of which there is a bound, for all and for
//! each address. Does not: count links; whoever has them says who may have another. Invariant:
//! of too many handshakes the oldest gives way, of whoever has the most of them: an honest one
//! takes a moment, one that is drawn out to keep others away takes as long as it may.

use crate::address::is_loopback;
use crate::error::LinkError;
use crate::security::proof::Proof;
use dpfw_protocol::hello::Hello;
use dpfw_protocol::limits::{MAX_HANDSHAKES, MAX_HANDSHAKES_FROM};
use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// Says whether a peer may have a link, by what it says of itself and how that was proved; the
/// error tells it why not.
pub type Admit<'a> = &'a (dyn Fn(&Hello, &Proof) -> Result<(), LinkError> + Send + Sync);

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
        Self { hears_first: false, admit: &|_, _| Ok(()), turn: None }
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
    /// At most [`MAX_HANDSHAKES`], in the order in which they began.
    turns: VecDeque<Waits>,
}

/// A handshake that is under way.
#[derive(Debug)]
struct Waits {
    number: u64,
    from: Option<IpAddr>,
    /// Dropped when it has to give way.
    _stays: oneshot::Sender<()>,
}

impl Waiting {
    fn count(&self, from: Option<IpAddr>) -> usize {
        self.turns.iter().filter(|turn| turn.from == from).count()
    }

    /// Makes room for a handshake from this address.
    fn make_room(&mut self, from: Option<IpAddr>) {
        let gives_way = if from.is_some() && self.count(from) >= MAX_HANDSHAKES_FROM {
            from
        } else if self.turns.len() >= MAX_HANDSHAKES {
            self.most()
        } else {
            return;
        };
        if let Some(oldest) = self.turns.iter().position(|turn| turn.from == gives_way) {
            self.turns.remove(oldest);
        }
    }

    /// The address of which there are most.
    fn most(&self) -> Option<IpAddr> {
        let mut counts = HashMap::new();
        for turn in &self.turns {
            *counts.entry(turn.from).or_insert(0) += 1;
        }
        counts.into_iter().max_by_key(|(_, count)| *count).and_then(|(from, _)| from)
    }
}

/// What counts as one address: of version 6 who has one mostly has all of its network.
fn origin(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
        v4 => v4,
    }
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

    /// A handshake begins, with a peer at this address; if there are too many, an older one ends.
    pub fn begin(&self, from: Option<IpAddr>) -> Turn {
        let (sender, over) = oneshot::channel();
        let mut waiting = self.lock();
        let number = waiting.next;
        waiting.next += 1;
        // All processes of this machine have one address: they share all there are.
        let from = from.filter(|from| !is_loopback(*from)).map(origin);
        waiting.make_room(from);
        waiting.turns.push_back(Waits { number, from, _stays: sender });
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
        if let Ok(place) = waiting.turns.binary_search_by_key(&self.number, |turn| turn.number) {
            waiting.turns.remove(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::oneshot::error::TryRecvError;

    #[tokio::test]
    async fn f57_the_oldest_of_too_many_handshakes_gives_way() {
        let all = Handshakes::default();
        let mut turns: Vec<Turn> = (0..MAX_HANDSHAKES).map(|_| all.begin(None)).collect();
        assert_eq!(all.count(), MAX_HANDSHAKES);
        // One that ends makes room, wherever it stood.
        drop(turns.remove(7));
        turns.push(all.begin(None));
        assert!(turns[0].over.try_recv() == Err(TryRecvError::Empty));
        turns.push(all.begin(None));
        let error = tokio::select! {
            biased;
            error = turns[0].is_over() => error,
            () = std::future::ready(()) => panic!("it stays"),
        };
        assert!(error.to_string().starts_with("busy"), "{error}");
        assert!(turns[1].over.try_recv() == Err(TryRecvError::Empty));
        assert_eq!(all.count(), MAX_HANDSHAKES);
        drop(turns);
        assert_eq!(all.count(), 0);
    }

    #[tokio::test]
    async fn f57_one_address_keeps_no_other_out() {
        let all = Handshakes::default();
        let at = |last: u32| Some(IpAddr::from(std::net::Ipv4Addr::from_bits(0xc000_0200 + last)));
        let mut honest = all.begin(at(1));
        let mut crowd: Vec<Turn> = (0..1000).map(|_| all.begin(at(2))).collect();
        assert_eq!(all.count(), 1 + MAX_HANDSHAKES_FROM);
        let is_over = |turn: &mut Turn| turn.over.try_recv() == Err(TryRecvError::Closed);
        assert!(is_over(&mut crowd[0]) && !is_over(&mut crowd[999]));
        // Many addresses, each with a few: the crowd's go first.
        let mut few: Vec<Turn> = (3..400).map(|last| all.begin(at(last))).collect();
        assert_eq!(all.count(), MAX_HANDSHAKES);
        assert!(!is_over(&mut few[396]));
        assert!(crowd.iter_mut().filter_map(|turn| (!is_over(turn)).then_some(())).count() <= 1);
        assert!(all.count() == MAX_HANDSHAKES);
        drop((honest.over.try_recv(), few));
    }

    #[test]
    fn a_network_of_version_6_is_one_address() {
        let of = |text: &str| origin(text.parse().expect("an address"));
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::9"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
    }
}
