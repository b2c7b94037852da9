//! The engines of residents, and the modules that are mapped into them.
//!
//! All slots share them, for a resident's calls run in whichever slot is free. Invariants: one is
//! made when those before have no room for a resident that has come, so that slaves without
//! residents do not pay for it; a resident keeps its place in the pool for its life, so that it
//! can be begun again there.

use super::resident::Room;
use crate::engine::Engines;
use crate::job::Target;
use crate::module::load::Loaded;
use crate::sandbox::host::Host;
use crate::sandbox::imports;
use crate::sandbox::prepared::Prepared;
use crate::scarce;
use dpfw_protocol::error::Cause;
use std::collections::HashMap;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use wasmtime::{Engine, Linker};

/// See the module's page.
#[derive(Default)]
pub(crate) struct ResidentEngines {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    /// In the order in which they were made. Bounded by the residents that there may be.
    pools: Vec<Pool>,
    /// For modules that do not fit a pool.
    on_demand: Option<Home>,
    /// Those that the slave has let go are dropped when another one is prepared.
    ready: HashMap<Key, (Weak<Loaded>, Arc<Prepared>)>,
}

/// A module's number, a pool's, and whether there are directories.
type Key = (usize, usize, bool);

/// An engine with a pool. A slave's reserves 6 TiB of addresses, of the 128 that a process has: so
/// few residents at a time, for a process may have several slaves.
struct Pool {
    home: Home,
    most: usize,
    /// Whether calls may wait in it.
    waits: bool,
    taken: Arc<AtomicUsize>,
}

/// An engine, and what its guests may import.
struct Home {
    engine: Engine,
    /// Of modules none of whose calls waits.
    at_once: Linker<Host>,
    waiting: Linker<Host>,
    /// Of those that were granted directories; made when the first comes.
    with_directories: OnceLock<Linker<Host>>,
}

/// A module in an engine, and a place in that engine's pool.
pub(crate) struct Lodged {
    pub(crate) prepared: Arc<Prepared>,
    pub(super) place: Option<Room>,
}

impl Home {
    fn new(engine: Engine) -> Result<Self, Cause> {
        let internal = |error| scarce::cause("residents cannot be linked", &error);
        let (mut at_once, mut waiting) = (Linker::new(&engine), Linker::new(&engine));
        imports::link(&mut at_once).map_err(internal)?;
        imports::link_waiting(&mut waiting).map_err(internal)?;
        Ok(Self { engine, at_once, waiting, with_directories: OnceLock::new() })
    }

    fn linker(&self, target: &Target) -> Result<&Linker<Host>, Cause> {
        match (target.has_directories(), target.waits()) {
            (true, _) => imports::with_directories(&self.with_directories, &self.engine),
            (false, true) => Ok(&self.waiting),
            (false, false) => Ok(&self.at_once),
        }
    }
}

impl ResidentEngines {
    /// The residents of a module, mapped when the first comes, and a place for one.
    pub(crate) fn lodge(&self, engines: &Engines, target: &Target) -> Result<Lodged, Cause> {
        let module = &target.module;
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let Inner { pools, on_demand, ready } = &mut *inner;
        let (at, place) = match module.facts().pooled {
            true => {
                let (at, place) = place(pools, engines, target.waits())?;
                (at, Some(place))
            }
            false => (ON_DEMAND, None),
        };
        let key = (module.number, at, target.has_directories());
        if let Some((_, prepared)) = ready.get(&key) {
            return Ok(Lodged { prepared: Arc::clone(prepared), place });
        }
        let home = match (pools.get(at), &on_demand) {
            (Some(pool), _) => &pool.home,
            (None, Some(home)) => home,
            (None, None) => on_demand.insert(Home::new(engines.on_demand()?)?),
        };
        let prepared = Prepared::of_residents(&home.engine, home.linker(target)?, module)?;
        let prepared = Arc::new(prepared);
        ready.retain(|_, (module, _)| module.strong_count() > 0);
        ready.insert(key, (Arc::downgrade(module), Arc::clone(&prepared)));
        Ok(Lodged { prepared, place })
    }
}

/// In place of a pool's number.
const ON_DEMAND: usize = usize::MAX;

/// A place in the first pool that has one; a pool more if none has.
fn place(pools: &mut Vec<Pool>, engines: &Engines, waits: bool) -> Result<(usize, Room), Cause> {
    for (at, pool) in pools.iter().enumerate().filter(|(_, pool)| pool.waits == waits) {
        if let Some(place) = Room::take(&pool.taken, pool.most) {
            return Ok((at, place));
        }
    }
    let (engine, most) = engines.residents(waits)?;
    let (home, most, taken) = (Home::new(engine)?, most as usize, Arc::default());
    let place = Room::take(&taken, most);
    pools.push(Pool { home, most, waits, taken });
    let full = || Cause::Internal { message: "a new pool is full".into() };
    Ok((pools.len() - 1, place.ok_or_else(full)?))
}

impl std::fmt::Debug for ResidentEngines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ResidentEngines")
    }
}
