//! Grants as an operator writes them.
//!
//! Owns: the forms of texts, and what is said of one that has another. Invariant: a key that is
//! not known, or a rule of whom is not said, is refused and not passed over.

use super::{Clocks, Destination, Directory, Randomness, Variable, Who};
use dpfw_protocol::ids::{ModuleHash, PeerId};
use serde::{Deserialize, Deserializer};
use std::str::FromStr;

/// See [`Rule`](super::Rule).
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rule {
    #[serde(default, deserialize_with = "hash")]
    module: Option<ModuleHash>,
    #[serde(default)]
    master: Option<PeerId>,
    #[serde(default)]
    everyone: bool,
    #[serde(default)]
    env: Vec<Variable>,
    #[serde(default)]
    directories: Vec<Directory>,
    #[serde(default)]
    clocks: Clocks,
    #[serde(default)]
    randomness: Randomness,
    #[serde(default)]
    connect: Vec<Destination>,
}

impl TryFrom<Rule> for super::Rule {
    type Error = &'static str;

    fn try_from(written: Rule) -> Result<Self, Self::Error> {
        let who = match (written.module, written.master, written.everyone) {
            (Some(module), None, false) => Who::Module(module),
            (None, Some(master), false) => Who::Master(master),
            (None, None, true) => Who::Everyone,
            _ => {
                return Err("a rule is for one of: module = \"HASH\", master = \"NAME\", \
                            everyone = true");
            }
        };
        let Rule { env, directories, clocks, randomness, connect, .. } = written;
        Ok(Self { who, env, directories, clocks, randomness, connect })
    }
}

fn hash<'de, D: Deserializer<'de>>(from: D) -> Result<Option<ModuleHash>, D::Error> {
    let text = String::deserialize(from)?;
    let hash = ModuleHash::from_hex(&text);
    let wrong = || {
        serde::de::Error::custom(
            "a module's hash has 64 hexadecimal digits; `dpfw inspect MODULE` shows it",
        )
    };
    hash.ok_or_else(wrong).map(Some)
}

/// What is written as a text, in the form that [`FromStr`] knows.
macro_rules! as_text {
    ($($name:ident),*) => {
        $(impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
            }
        })*
    };
}

as_text!(Variable, Destination);

impl FromStr for Variable {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (text, None),
        };
        match name.is_empty() || text.contains('\0') {
            true => Err(format!("{text:?} is no variable: write NAME, or NAME=VALUE")),
            false => Ok(Self { name: name.to_owned(), value }),
        }
    }
}

impl FromStr for Destination {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong =
            || format!("{text:?} is no destination: write HOST:PORT, or HOST:* for all ports");
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let host = bare(host).ok_or_else(wrong)?.to_ascii_lowercase();
        let port = match port {
            "*" => None,
            port => Some(port.parse().ok().filter(|port| *port != 0).ok_or_else(wrong)?),
        };
        Ok(Self { host, port })
    }
}

/// A host without the brackets of an IPv6 address; nothing if it is none.
fn bare(host: &str) -> Option<&str> {
    let (host, is_v6) = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(host) => (host, true),
        None => (host, false),
    };
    let is_host = !host.is_empty() && host.bytes().all(|b| b.is_ascii_graphic());
    (is_host && host.contains(':') == is_v6).then_some(host)
}

/// Where a guest wants to connect to: a host, without brackets, and a port.
pub(crate) fn destination(text: &str) -> Option<(String, u16)> {
    let Destination { host, port } = text.parse().ok()?;
    Some((host, port?))
}
