use super::*;
use crate::engine::{Engines, Scan};
use crate::limits::Limits;
use dpfw_link::identity;
use dpfw_protocol::hello::Namespace;
use dpfw_protocol::store::Key;
use std::task::Waker;

type Outcome<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

/// On which what is built is kept mostly.
const EVICTABLE: Terms = Terms { evictable: true, ttl_ms: None, durable: false };

struct Bench {
    core: Arc<Core>,
    owner: Principal,
}

impl Bench {
    fn new(limits: Limits) -> Outcome<Self> {
        let core = Arc::new(Core::new(limits, Engines::new(limits, Scan::default()), 1)?);
        Ok(Self { core, owner: Principal(identity("test").peer) })
    }

    fn who(&self) -> Arc<Who> {
        self.core.claims.who(None)
    }

    fn claim(&self, key: &str, who: &Arc<Who>) -> Result<Claimed, Cause> {
        let key = FullKey { namespace: Namespace::default(), key: Key::new(key)? };
        Claims::claim(&self.core, &key, &self.owner, who)
    }

    fn builds(&self, key: &str, who: &Arc<Who>) -> Outcome<Claim> {
        match self.claim(key, who)? {
            Claimed::Build(claim) => Ok(claim),
            other => Err(format!("{other:?}").into()),
        }
    }

    fn waits(&self, key: &str, who: &Arc<Who>) -> Outcome<Waiter> {
        match self.claim(key, who)? {
            Claimed::Wait(waiter) => Ok(waiter),
            other => Err(format!("{other:?}").into()),
        }
    }

    fn is_empty(&self) -> bool {
        self.core.claims.counts() == (0, 0)
    }
}

fn turn(waiter: &mut Waiter) -> Option<Turn> {
    match Pin::new(waiter).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(turn) => Some(turn),
        Poll::Pending => None,
    }
}

fn builds_now(waiter: &mut Waiter) -> Outcome<Claim> {
    match turn(waiter) {
        Some(Turn::Build(claim)) => Ok(claim),
        other => Err(format!("{other:?}").into()),
    }
}

#[test]
fn one_builds_and_all_that_wait_get_it() -> Outcome {
    let bench = Bench::new(Limits::default())?;
    let claim = bench.builds("k", &bench.who())?;
    let mut waiting = Vec::new();
    for _ in 0..3 {
        waiting.push(bench.waits("k", &bench.who())?);
    }
    assert!(waiting.iter_mut().all(|waiter| turn(waiter).is_none()));
    let settled = claim.settle(&bench.owner, Bytes::from_static(b"it"), EVICTABLE, &|| true)?;
    assert!(settled.hit);
    for waiter in &mut waiting {
        let Some(Turn::Hit(answer)) = turn(waiter) else { panic!("not told") };
        assert_eq!((&answer.value[..], answer.version), (&b"it"[..], settled.version));
    }
    assert!(matches!(bench.claim("k", &bench.who())?, Claimed::Hit(_)));
    drop(waiting);
    assert!(bench.is_empty());
    Ok(())
}

#[test]
fn the_next_that_still_waits_builds_in_the_order_in_which_they_came() -> Outcome {
    let bench = Bench::new(Limits::default())?;
    let first = bench.builds("k", &bench.who())?;
    let mut second = bench.waits("k", &bench.who())?;
    let third = bench.waits("k", &bench.who())?;
    let mut fourth = bench.waits("k", &bench.who())?;
    drop(first);
    let claim = builds_now(&mut second)?;
    drop(third);
    assert!(turn(&mut fourth).is_none());
    drop(claim);
    let claim = builds_now(&mut fourth)?;
    drop((second, fourth, claim));
    assert!(bench.is_empty());
    // One that was told and is gone before it has heard of it.
    let first = bench.builds("k", &bench.who())?;
    let second = bench.waits("k", &bench.who())?;
    let mut third = bench.waits("k", &bench.who())?;
    drop(first);
    drop(second);
    drop(builds_now(&mut third)?);
    drop(third);
    assert!(bench.is_empty());
    Ok(())
}

#[test]
fn a_ring_is_found_when_it_would_close() -> Outcome {
    let bench = Bench::new(Limits::default())?;
    let (a, b, c) = (bench.who(), bench.who(), bench.who());
    let x = bench.builds("x", &a)?;
    let y = bench.builds("y", &b)?;
    let z = bench.builds("z", &c)?;
    let a_waits = bench.waits("y", &a)?;
    let b_waits = bench.waits("z", &b)?;
    let ring =
        |keys: &[&str]| Cause::Ring { keys: keys.iter().map(|&key| key.to_owned()).collect() };
    assert_eq!(bench.claim("x", &c).map(drop), Err(ring(&["x", "y", "z"])));
    assert_eq!(bench.claim("z", &c).map(drop), Err(ring(&["z"])), "its own");
    // Who builds nothing closes no ring.
    let other = bench.waits("x", &bench.who())?;
    // The one in the middle gives up: there is no ring any more.
    drop(b_waits);
    let c_waits = bench.waits("x", &c)?;
    assert_eq!(bench.claim("z", &b).map(drop), Err(ring(&["z", "x", "y"])));
    drop((a_waits, c_waits, other, x, y, z));
    assert!(bench.is_empty());
    Ok(())
}

#[test]
fn what_somebody_else_has_put_meanwhile_stays() -> Outcome {
    let bench = Bench::new(Limits::default())?;
    let claim = bench.builds("k", &bench.who())?;
    let mut waiter = bench.waits("k", &bench.who())?;
    let (namespace, op) = (Namespace::default(), StoreOp::Put { key: Key::new("k")? });
    let put = bench.core.store.apply(&namespace, &bench.owner, op, Bytes::from_static(b"put"))?;
    assert!(matches!(bench.claim("k", &bench.who())?, Claimed::Hit(_)));
    let settled = claim.settle(&bench.owner, Bytes::from_static(b"built"), EVICTABLE, &|| true)?;
    assert_eq!((settled.hit, &settled.value[..]), (false, &b"put"[..]));
    let Some(Turn::Hit(answer)) = turn(&mut waiter) else { panic!("not told") };
    assert_eq!((&answer.value[..], answer.version), (&b"put"[..], put.version));
    Ok(())
}

#[test]
fn f58_what_the_store_has_no_room_for_is_built_by_the_next() -> Outcome {
    let bench = Bench::new(Limits { store_bytes: 1000, ..Limits::default() })?;
    let claim = bench.builds("k", &bench.who())?;
    let mut waiter = bench.waits("k", &bench.who())?;
    let error =
        claim.settle(&bench.owner, vec![0; 2000].into(), EVICTABLE, &|| true).expect_err("no room");
    assert!(matches!(error, Cause::Limit { limit: Limit::Quota, .. }), "{error}");
    builds_now(&mut waiter)?.settle(&bench.owner, vec![0; 10].into(), EVICTABLE, &|| true)?;
    drop(waiter);
    assert!(bench.is_empty());
    Ok(())
}
