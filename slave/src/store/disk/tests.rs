//! The disk of a store, whole, full, failing and cut off.

use super::super::Store;
use super::*;
use crate::limits::Limits;
use disks::Platter;
use dpfw_protocol::hello::Namespace;
use dpfw_protocol::ids::PeerId;
use dpfw_protocol::resident::Saving;
use dpfw_protocol::store::{Disk as Told, EntryInfo, Key, Principal, StoreOp, Terms};
use std::sync::mpsc;

mod commits;
mod disks;
mod faults;
mod restarts;

const PLAIN: Terms = Terms { evictable: false, ttl_ms: None, durable: false };

fn owner() -> Principal {
    Principal(PeerId::new("m").expect("printable"))
}

fn full(name: &str) -> FullKey {
    FullKey { namespace: Namespace::default(), key: Key::new(name).expect("short") }
}

impl Store {
    /// A store whose disk is this one.
    fn on(platter: &Platter, limits: &Limits) -> Result<Self, DirectoryError> {
        let store = Self::new(limits);
        let directory = Path::new("memory");
        let take = |loaded| store.take_back(directory, loaded);
        let disk = Disk::start(platter.files(), &store.versions, take)?;
        let _ = store.disk.set(disk);
        Ok(store)
    }

    fn apply_plain(&self, terms: Terms, op: StoreOp, value: &[u8]) -> Result<Version, Cause> {
        let (namespace, value) = (Namespace::default(), Bytes::copy_from_slice(value));
        let answer = self.apply_on(terms, &namespace, &owner(), op, value, &|| true)?;
        Ok(answer.version)
    }

    fn put_on(&self, terms: Terms, name: &str, value: &[u8]) -> Result<Version, Cause> {
        self.apply_plain(terms, StoreOp::Put { key: full(name).key }, value)
    }

    fn put(&self, name: &str, value: &[u8]) -> Result<Version, Cause> {
        self.put_on(PLAIN, name, value)
    }

    fn drop_key(&self, name: &str) -> Result<(), Cause> {
        self.apply_plain(PLAIN, StoreOp::Remove { key: full(name).key }, b"").map(drop)
    }

    fn read(&self, name: &str) -> Option<Vec<u8>> {
        let op = StoreOp::Get { key: full(name).key };
        let answer = self.apply(&Namespace::default(), &owner(), op, Bytes::new()).expect("reads");
        answer.hit.then(|| answer.value.to_vec())
    }

    fn all(&self) -> Vec<EntryInfo> {
        let op = StoreOp::List { prefix: String::new(), after: None, limit: u32::MAX };
        self.apply(&Namespace::default(), &owner(), op, Bytes::new()).expect("reads").entries
    }

    /// Waits until all is on disk, or it is told that it is not.
    fn sync(&self) -> Result<(), Cause> {
        let (told, outcome) = mpsc::channel();
        self.when_kept(Box::new(move |kept| told.send(kept).expect("somebody waits")));
        outcome.recv().expect("it is called")
    }
}

fn storage(what: Storage) -> Result<(), Cause> {
    Err(Cause::Storage { what })
}

#[test]
fn what_a_resident_changes_is_on_disk_within_a_second_unless_it_says_otherwise() {
    let Saving::After(ms) = Saving::default() else { panic!("it is taken behind calls") };
    assert!(Duration::from_millis(ms) + HOLD <= Duration::from_secs(1));
}
