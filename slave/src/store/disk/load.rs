//! What is in a directory, at the start of a slave.
//!
//! Owns: reading it. Does not: know whether there is room for it; the store does. Invariant: what
//! is read is the last whole commit, or an error.

use super::file::{DirectoryError, Fault, Files};
use super::format::{
    FORMAT, NUMBERS, Reader, Records, SAVED, Stored, THIS_FORMAT, VALUES, VERSIONS,
};
use dpfw_protocol::store::{FullKey, Version};
use redb::{Database, ReadableDatabase, ReadableTable, TableError};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What was found.
#[derive(Debug, Default)]
pub(in super::super) struct Loaded {
    /// Values, in the order of their keys.
    pub(in super::super) values: Vec<(FullKey, Stored)>,
    /// Saved states.
    pub(in super::super) saved: Vec<(FullKey, Stored)>,
    /// The first version that may be given out.
    pub(in super::super) version: Version,
    /// Whether the process that wrote it did not close it.
    pub(in super::super) was_cut_off: bool,
}

impl Files {
    /// Opens the database, and reads what is in it.
    ///
    /// # Errors
    /// [`DirectoryError`].
    pub(super) fn load(&self) -> Result<(Database, Loaded), DirectoryError> {
        // The database trusts a file that looks closed, and panics if somebody else changed it.
        match catch_unwind(AssertUnwindSafe(|| self.read())) {
            Ok(read) => read,
            Err(_) => Err(self.damaged("its database panicked")),
        }
    }

    fn read(&self) -> Result<(Database, Loaded), DirectoryError> {
        let (database, was_cut_off) = self.database().map_err(|error| self.unreadable(error))?;
        let mut loaded = Loaded { was_cut_off, version: 1, ..Loaded::default() };
        let read = database.begin_read().map_err(|error| self.unreadable(error))?;
        match read.open_table(NUMBERS) {
            Ok(numbers) => {
                let number = |name| -> Result<Option<u64>, DirectoryError> {
                    let number = numbers.get(name).map_err(|error| self.unreadable(error))?;
                    Ok(number.map(|number| number.value()))
                };
                match number(FORMAT)? {
                    Some(THIS_FORMAT) => {}
                    Some(found) => {
                        let directory = self.directory.clone();
                        return Err(DirectoryError::Format { directory, found });
                    }
                    None => return Err(self.damaged("it has no format")),
                }
                let missing = || self.damaged("it does not say which versions were used");
                loaded.version = number(VERSIONS)?.ok_or_else(missing)?;
            }
            Err(TableError::TableDoesNotExist(_)) => return Ok((database, loaded)),
            Err(error) => return Err(self.unreadable(error)),
        }
        loaded.values = self.records(&read, VALUES)?;
        loaded.saved = self.records(&read, SAVED)?;
        drop(read);
        Ok((database, loaded))
    }

    fn records(
        &self,
        read: &redb::ReadTransaction,
        table: Records,
    ) -> Result<Vec<(FullKey, Stored)>, DirectoryError> {
        let table = read.open_table(table).map_err(|error| self.unreadable(error))?;
        let (mut records, mut reader) = (Vec::new(), Reader::default());
        for record in table.iter().map_err(|error| self.unreadable(error))? {
            let (key, record) = record.map_err(|error| self.unreadable(error))?;
            let read = reader.entry(key.value(), record.value());
            let key = || String::from_utf8_lossy(key.value()).replace('\0', "/");
            records.push(read.ok_or_else(|| self.damaged(format!("the entry {:?}", key())))?);
        }
        Ok(records)
    }

    fn damaged(&self, what: impl Into<String>) -> DirectoryError {
        DirectoryError::Damaged { directory: self.directory.clone(), what: what.into() }
    }

    fn unreadable(&self, error: impl Into<redb::Error>) -> DirectoryError {
        self.unusable(self.fault(error.into()))
    }

    /// What a fault at the start comes to.
    pub(super) fn unusable(&self, fault: Fault) -> DirectoryError {
        let (Fault::Full(error) | Fault::Failed(error)) = fault;
        match error {
            redb::Error::Io(source) if source.kind() != io::ErrorKind::InvalidData => {
                DirectoryError::Io { directory: self.directory.clone(), source }
            }
            other => self.damaged(other.to_string()),
        }
    }
}
