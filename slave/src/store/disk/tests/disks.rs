//! A disk in memory that can be full, fail and lose its power.

use super::super::file::Files;
use redb::StorageBackend;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard};

/// A disk that outlives the stores on it.
#[derive(Clone, Debug, Default)]
pub(super) struct Platter(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    bytes: Mutex<Vec<u8>>,
    syncs: AtomicUsize,
    sync_fails: AtomicBool,
    /// Whether only what it holds already can be written.
    is_full: AtomicBool,
    /// Writes that are still done, if the power goes away.
    writes_left: AtomicU64,
    loses_power: AtomicBool,
    /// While it is locked, syncs wait.
    gate: Mutex<()>,
}

impl Platter {
    /// The same bytes, on a disk that is well.
    pub(super) fn copy(&self) -> Self {
        let copy = Self::default();
        copy.0.bytes.lock().expect("no panic").clone_from(&self.bytes());
        copy
    }

    pub(super) fn bytes(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.bytes.lock().expect("no panic")
    }

    pub(super) fn files(&self) -> Files {
        let platter = self.clone();
        let open = move || Ok(Box::new(platter.clone()) as Box<dyn StorageBackend>);
        Files::over(Path::new("memory"), Box::new(open), None)
    }

    pub(super) fn syncs(&self) -> usize {
        self.0.syncs.load(SeqCst)
    }

    pub(super) fn fill(&self, is_full: bool) {
        self.0.is_full.store(is_full, SeqCst);
    }

    pub(super) fn fail_syncs(&self, fails: bool) {
        self.0.sync_fails.store(fails, SeqCst);
    }

    /// After so many writes nothing is written any more, though it is said to be; the last one
    /// is cut in half.
    pub(super) fn lose_power_after(&self, writes: u64) {
        self.0.writes_left.store(writes, SeqCst);
        self.0.loses_power.store(true, SeqCst);
    }

    /// Nothing is synced while this is held.
    pub(super) fn hold_syncs(&self) -> MutexGuard<'_, ()> {
        self.0.gate.lock().expect("no panic")
    }

    /// How much of a write of this length is done.
    fn done(&self, len: usize) -> usize {
        if !self.0.loses_power.load(SeqCst) {
            return len;
        }
        let left = self.0.writes_left.try_update(SeqCst, SeqCst, |left| left.checked_sub(1));
        match left {
            Err(_) => 0,
            Ok(1) => len / 2,
            Ok(_) => len,
        }
    }
}

impl StorageBackend for Platter {
    fn len(&self) -> io::Result<u64> {
        Ok(self.bytes().len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let bytes = self.bytes();
        let from = bytes.get(offset as usize..).and_then(|rest| rest.get(..out.len()));
        out.copy_from_slice(from.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut bytes = self.bytes();
        if len as usize > bytes.len() && self.0.is_full.load(SeqCst) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        bytes.resize(len as usize, 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        drop(self.hold_syncs());
        self.0.syncs.fetch_add(1, SeqCst);
        match self.0.sync_fails.load(SeqCst) {
            true => Err(io::Error::other("the platter is scratched")),
            false => Ok(()),
        }
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let done = self.done(data.len());
        let mut bytes = self.bytes();
        let to = &mut bytes[offset as usize..][..data.len()];
        to[..done].copy_from_slice(&data[..done]);
        Ok(())
    }
}
