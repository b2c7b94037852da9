//! One transaction: all of it is on disk when it is through, or nothing of it.

use super::format::{self, FORMAT, NUMBERS, SAVED, THIS_FORMAT, VALUES, VERSIONS};
use super::{Change, Part};
use dpfw_protocol::store::Version;
use redb::{Database, Table};

/// A change, with its key as it stands in the tree.
pub(super) type Chosen<'a> = (Part, Vec<u8>, &'a Change);

/// Commits changes, and up to which version is written down.
///
/// # Errors
/// What the database says; nothing is changed then.
pub(super) fn transact(
    database: &Database,
    changes: &[Chosen<'_>],
    upto: Option<Version>,
) -> Result<(), redb::Error> {
    // It is on disk when `commit` returns, unless told otherwise.
    let transaction = database.begin_write()?;
    {
        let mut values = transaction.open_table(VALUES)?;
        let mut saved = transaction.open_table(SAVED)?;
        for (part, key, change) in changes {
            let table = if *part == Part::Values { &mut values } else { &mut saved };
            change_one(table, key, change)?;
        }
        if let Some(upto) = upto {
            let mut numbers = transaction.open_table(NUMBERS)?;
            numbers.insert(FORMAT, THIS_FORMAT)?;
            numbers.insert(VERSIONS, upto)?;
        }
    }
    Ok(transaction.commit()?)
}

fn change_one(
    table: &mut Table<'_, &'static [u8], &'static [u8]>,
    key: &[u8],
    change: &Change,
) -> Result<(), redb::Error> {
    match change {
        None => drop(table.remove(key)?),
        Some(record) => {
            // Copied once, into the page.
            let mut place = table.insert_reserve(key, format::len(record))?;
            format::write(record, place.as_mut());
        }
    }
    Ok(())
}
