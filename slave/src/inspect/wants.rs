//! What a module would use of what an operator may grant, told by what it imports.
//!
//! A compiler's runtime imports more than a program uses: a want says what may be asked for, and
//! not that it is. But for connections nothing of this is needed: what was not granted is not
//! found.

use super::scan::Scan;
use crate::sandbox::imports::{ABI, WASI, is_connecting};
use serde::Serialize;

/// Something that an operator may grant and a module may use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Want {
    /// What: `variables`, `directories` or `connections`.
    pub what: &'static str,
    /// The imports that use it.
    pub imports: Vec<String>,
    /// Whether the module is refused where it is not granted.
    pub required: bool,
}

/// Something that a module exports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Export {
    /// Its name.
    pub name: String,
    /// As what: a function with its type, a memory, a table.
    pub what: String,
}

/// What it would use, if it is granted.
pub(super) fn of(scan: &Scan) -> Vec<Want> {
    let want = |what, uses: fn(&str, &str) -> bool| {
        let its = || scan.imports.iter().filter(|(module, name, _)| uses(module, name));
        let imports: Vec<_> = its().map(|(_, name, _)| name.clone()).collect();
        let required = its().any(|(module, name, _)| is_connecting(module, name));
        (!imports.is_empty()).then_some(Want { what, imports, required })
    };
    let all = [
        want("variables", |module, name| module == WASI && name.starts_with("environ_")),
        want("directories", |module, name| module == WASI && name.starts_with("path_")),
        want("connections", |module, name| module == ABI && name.starts_with("connect")),
    ];
    all.into_iter().flatten().collect()
}

/// What it exports, in its own order.
pub(super) fn exports(scan: &Scan) -> Vec<Export> {
    let one = |(name, item): &(String, super::Item)| Export {
        name: name.clone(),
        what: item.to_string(),
    };
    scan.exports.iter().map(one).collect()
}
