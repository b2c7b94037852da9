//! The tables of pages that tests are held against.
//!
//! Owns: the cells of a row, and what the last one says. Does not: know which rows there are.

use anyhow::{Result, bail};

/// Whether a row has to have tests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Now,
    /// It has, of what there is of it.
    InPart(String),
    /// It need not, for this reason.
    Later(String),
}

impl Standing {
    /// Reads the last cell of a row: nothing, `in part: why` or `later: why`.
    ///
    /// # Errors
    /// It is none of these.
    pub(crate) fn read(row: &str, cell: &str) -> Result<Self> {
        Ok(match cell.split_once(':').map(|(word, why)| (word, why.trim().to_owned())) {
            None if cell.is_empty() => Self::Now,
            Some(("later", why)) if !why.is_empty() => Self::Later(why),
            Some(("in part", why)) if !why.is_empty() => Self::InPart(why),
            _ => bail!("row {row}: {cell:?} is neither `later: why` nor `in part: why`"),
        })
    }

    /// What is said of it beside its result.
    pub(crate) fn remark(&self) -> Option<&str> {
        match self {
            Self::Now => None,
            Self::InPart(why) | Self::Later(why) => Some(why),
        }
    }
}

/// The cells of a line, if it is one of a table.
pub(crate) fn cells(line: &str) -> Option<Vec<&str>> {
    let inner = line.strip_prefix('|')?.trim().strip_suffix('|')?;
    Some(inner.split('|').map(str::trim).collect())
}
