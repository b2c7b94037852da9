//! The residents that a module has.
//!
//! Owns: which exports belong to one class, and which of them make it. Does not: say what is
//! wrong with them. Invariant: every function behind the prefix is told, described or not.

use super::scan::{Item, Scan};
use dpfw_protocol::resident::{LOAD, MAKES, RESIDENT_PREFIX, SAVE};
use dpfw_protocol::signature::TaskTable;
use serde::Serialize;
use std::collections::BTreeMap;

/// A class of residents.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Resident {
    /// Its name.
    pub class: String,
    /// What it is spawned by, in the order of the names.
    pub constructors: Vec<Method>,
    /// What can be called of it, in the order of the names.
    pub methods: Vec<Method>,
    /// Whether it can be begun again with its state.
    pub saves: bool,
}

/// A constructor or a method of a resident.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Method {
    /// Without the class.
    pub name: String,
    /// As its module describes it, without the class.
    pub signature: String,
    /// Whether its module describes it.
    pub described: bool,
}

/// The classes in the order of their names.
pub(super) fn of(scan: &Scan, table: &TaskTable) -> Vec<Resident> {
    let mut names: Vec<_> = scan
        .exports
        .iter()
        .filter(|(_, item)| matches!(item, Item::Function(_)))
        .filter_map(|(export, _)| export.strip_prefix(RESIDENT_PREFIX))
        .collect();
    names.sort_unstable();
    let mut classes = BTreeMap::<&str, (Resident, [bool; 2])>::new();
    for full in names {
        let (class, name) = full.split_once('.').unwrap_or((full, ""));
        let (resident, keeps) = classes.entry(class).or_default();
        class.clone_into(&mut resident.class);
        match name {
            SAVE => keeps[0] = true,
            LOAD => keeps[1] = true,
            name => {
                let record = table.method(full).map(|signature| signature.task);
                let line = record.as_ref().map(|record| record.line());
                let signature = line.as_deref().and_then(|line| line.strip_prefix(class));
                let signature = signature.and_then(|line| line.strip_prefix('.'));
                let method = Method {
                    name: name.to_owned(),
                    signature: signature.unwrap_or(name).to_owned(),
                    described: record.is_some(),
                };
                match record.is_some_and(|record| record.returns == MAKES) {
                    true => resident.constructors.push(method),
                    false => resident.methods.push(method),
                }
            }
        }
    }
    let done = |(mut resident, keeps): (Resident, [bool; 2])| {
        resident.saves = keeps == [true; 2];
        resident
    };
    classes.into_values().map(done).collect()
}
