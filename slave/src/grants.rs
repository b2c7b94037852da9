//! What guests are granted of the world outside their sandboxes.
//!
//! Owns: what an operator may say, as values and as he writes it, and what is wrong with that.
//! Does not: open anything (`opened`), or hand it to a guest; the sandbox does. Invariant: what no
//! rule names is not there, for any guest.

mod budget;
mod fixed;
pub(crate) mod opened;
mod used;
mod written;

#[cfg(test)]
mod tests;

use dpfw_protocol::ids::{ModuleHash, PeerId};
use serde::Deserialize;
use std::io;
use std::path::PathBuf;

pub(crate) use budget::{Budget, Files};
pub(crate) use fixed::{Clock, Seeded};
pub(crate) use opened::{Grant, Opened};
pub(crate) use used::{Used, used};
pub(crate) use written::destination;

/// What guests are granted, by rules; nothing unless told.
///
/// What a guest has is all that the rules give which apply to it together. While a module is
/// warmed or an image is made nothing is there, but fixed clocks and randomness, of rules for the
/// module or everyone.
///
/// ```
/// use dpfw_slave::{Directory, Grants, PeerId, Rule, Who};
///
/// let rule = Rule {
///     env: vec!["MODE=fast".parse()?],
///     directories: vec![Directory::read_only("/srv/maps", "/maps")],
///     connect: vec!["db.example:5432".parse()?],
///     ..Rule::of(Who::Master(PeerId::new("reports")?))
/// };
/// let grants = Grants { rules: vec![rule] };
/// assert!(grants.opens_anything());
/// assert!(!Grants::default().opens_anything());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grants {
    /// In the order in which they were written. Where they differ the first counts.
    #[serde(default, rename = "rule")]
    pub rules: Vec<Rule>,
}

/// What somebody's guests are granted.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "written::Rule")]
pub struct Rule {
    /// Whose guests.
    pub who: Who,
    /// Variables of the environment.
    pub env: Vec<Variable>,
    /// Directories, with all that is in them.
    pub directories: Vec<Directory>,
    /// What clocks show.
    pub clocks: Clocks,
    /// Where randomness comes from.
    pub randomness: Randomness,
    /// Where it may connect to.
    pub connect: Vec<Destination>,
}

impl Rule {
    /// One that grants nothing yet.
    pub fn of(who: Who) -> Self {
        Self {
            who,
            env: Vec::new(),
            directories: Vec::new(),
            clocks: Clocks::Real,
            randomness: Randomness::Real,
            connect: Vec::new(),
        }
    }

    /// Whether it applies to a guest of this module and this master, as far as they are known.
    fn applies(&self, module: Option<ModuleHash>, master: Option<&PeerId>) -> bool {
        match &self.who {
            Who::Module(hash) => module == Some(*hash),
            Who::Master(name) => master == Some(name),
            Who::Everyone => true,
        }
    }
}

/// Whose guests a rule is for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Who {
    /// Those of this module, whoever calls it. An image that a master sent is no such guest: its
    /// code is the master's word.
    Module(ModuleHash),
    /// Those of this master. A resident is whose spawned it.
    Master(PeerId),
    /// All.
    Everyone,
}

/// A variable of the environment.
///
/// ```
/// use dpfw_slave::Variable;
///
/// assert_eq!("LANG".parse(), Ok(Variable { name: "LANG".into(), value: None }));
/// assert_eq!("A=b=c".parse(), Ok(Variable { name: "A".into(), value: Some("b=c".into()) }));
/// assert!("=x".parse::<Variable>().is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Its value; that which the slave itself has when it starts, if none is said.
    pub value: Option<String>,
}

/// A directory that guests see.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Directory {
    /// Where it is on the slave's machine: an absolute path. It is opened when the slave starts.
    pub host: PathBuf,
    /// As what guests know it.
    pub guest: String,
    /// Whether they may change what is in it.
    #[serde(default)]
    pub writable: bool,
}

impl Directory {
    /// One in which nothing can be changed.
    pub fn read_only(host: impl Into<PathBuf>, guest: impl Into<String>) -> Self {
        Self { host: host.into(), guest: guest.into(), writable: false }
    }

    /// One in which files can be made, written and removed.
    pub fn writable(host: impl Into<PathBuf>, guest: impl Into<String>) -> Self {
        Self { writable: true, ..Self::read_only(host, guest) }
    }
}

/// What clocks show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Clocks {
    /// The time.
    #[default]
    Real,
    /// In each sandbox the same: it begins at this many seconds after 1970, and every time that it
    /// is read it has gone on by a microsecond. Nothing else moves it, not even sleep.
    Fixed(u64),
}

/// Where randomness comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Randomness {
    /// The operating system.
    #[default]
    Real,
    /// In each sandbox the same bytes, which follow from this number alone: anybody who knows it
    /// can foretell them.
    Seed(u64),
}

/// Where guests may connect to: a host as it is named, and a port or all of its ports.
///
/// ```
/// use dpfw_slave::Destination;
///
/// let all: Destination = "db.example:*".parse()?;
/// assert!(all.covers("DB.example", 5432) && !all.covers("example", 5432));
/// let one: Destination = "[::1]:80".parse()?;
/// assert!(one.covers("::1", 80) && !one.covers("::1", 81));
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// In lower case, an IPv6 address without brackets.
    host: String,
    /// All if there is none.
    port: Option<u16>,
}

impl Destination {
    /// Whether this host, by this name, and port are meant.
    pub fn covers(&self, host: &str, port: u16) -> bool {
        self.host.eq_ignore_ascii_case(host) && self.port.is_none_or(|its| its == port)
    }
}

/// What cannot be granted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GrantsError {
    /// A directory is not there, is none, or may not be read.
    #[error(
        "the directory {} cannot be granted: {source}; make it, or take it out of the grants",
        path.display()
    )]
    Directory {
        /// Its path.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A directory is named in a way that depends on where the slave was started, or not at all.
    #[error(
        "the directory {} as `{guest}` cannot be granted: write an absolute path for `host`, and a \
         name for `guest`",
        path.display()
    )]
    Path {
        /// Its path.
        path: PathBuf,
        /// As what guests were to know it.
        guest: String,
    },
    /// A variable of the slave's has a value that is no text.
    #[error(
        "the variable {name} cannot be granted: its value is not UTF-8; say it as {name}=VALUE"
    )]
    Variable {
        /// Its name.
        name: String,
    },
    /// Anybody could have what is granted.
    #[error(
        "guests are granted directories, variables or connections, and on an insecure network \
         (--insecure-network, Security::insecure) anybody can run guests: use certificates or \
         loopback, or leave the grants out"
    )]
    Insecure,
}

impl Grants {
    /// Whether anything outside of a sandbox is granted: clocks and randomness are no such thing.
    pub fn opens_anything(&self) -> bool {
        let opens = |rule: &Rule| {
            !(rule.env.is_empty() && rule.directories.is_empty() && rule.connect.is_empty())
        };
        self.rules.iter().any(opens)
    }

    /// Refuses what would be everybody's.
    ///
    /// # Errors
    /// [`GrantsError::Insecure`].
    pub(crate) fn check(&self, is_insecure: bool) -> Result<(), GrantsError> {
        match is_insecure && self.opens_anything() {
            true => Err(GrantsError::Insecure),
            false => Ok(()),
        }
    }
}
