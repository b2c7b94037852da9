//! The first frame of either side: who speaks, what is spoken, what is allowed.
//!
//! Both sides send [`PREFACE`] and a [`Hello`] at once, without waiting for the other.
//! The hello is MessagePack with named fields, and fields that are not known are passed
//! over, so that it stays readable in every later version.

use crate::frame::Header;
use crate::ids::{ConversationId, Incarnation, PeerId, SessionId};
use crate::limits::{MAX_HELLO, MAX_NAMESPACE};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// The first bytes on a link. The line ends and the control character are there so that
/// a transfer that changes bytes is noticed at once, and a browser is told apart.
pub const PREFACE: [u8; 8] = *b"dpfw\r\n\x1a\n";

/// What a peer is on this link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Dispatches.
    Master,
    /// Executes.
    Slave,
}

impl Role {
    /// The role that may be at the other end.
    pub fn opposite(self) -> Self {
        match self {
            Self::Master => Self::Slave,
            Self::Slave => Self::Master,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Master => "master",
            Self::Slave => "slave",
        })
    }
}

/// Protocol versions, inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range {
    /// The oldest version spoken.
    pub min: u16,
    /// The newest version spoken.
    pub max: u16,
}

impl Range {
    /// The newest version that both speak.
    pub fn common(self, other: Self) -> Option<u16> {
        let newest = self.max.min(other.max);
        (newest >= self.min.max(other.min)).then_some(newest)
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.min == self.max {
            write!(f, "{}", self.min)
        } else {
            write!(f, "{} to {}", self.min, self.max)
        }
    }
}

/// What a peer can do beyond the version's baseline; unknown bits are ignored. A feature
/// is used only where both sides have it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Features(pub u64);

/// A part of a slave's keyed store: printable, at most [`MAX_NAMESPACE`] bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Namespace(Arc<str>);

/// A text is no namespace.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no namespace: 1 to {MAX_NAMESPACE} bytes of printable ASCII without spaces")]
pub struct BadNamespace(String);

impl Namespace {
    /// Takes a text as a namespace.
    ///
    /// # Errors
    /// [`BadNamespace`] unless it is 1 to [`MAX_NAMESPACE`] bytes of printable ASCII.
    pub fn new(text: impl Into<String>) -> Result<Self, BadNamespace> {
        let text = text.into();
        let printable = text.bytes().all(|b| b.is_ascii_graphic());
        if text.is_empty() || text.len() > MAX_NAMESPACE || !printable {
            return Err(BadNamespace(text));
        }
        Ok(Self(text.into()))
    }

    /// The namespace as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Namespace {
    /// `default`: where everybody is until certificates name others.
    fn default() -> Self {
        Self("default".into())
    }
}

impl TryFrom<String> for Namespace {
    type Error = BadNamespace;
    fn try_from(text: String) -> Result<Self, BadNamespace> {
        Self::new(text)
    }
}

impl From<Namespace> for String {
    fn from(namespace: Namespace) -> Self {
        (*namespace.0).into()
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a peer takes from the other one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PeerLimits {
    /// Bytes of a conversation that may be under way before credit is granted.
    pub window: u64,
    /// The largest payload of a conversation: arguments or a result.
    pub payload: u64,
    /// Attempts that may be outstanding in the session.
    pub attempts: u32,
}

impl Default for PeerLimits {
    fn default() -> Self {
        Self {
            window: crate::limits::WINDOW,
            payload: crate::limits::MAX_PAYLOAD,
            attempts: crate::limits::MAX_ATTEMPTS as u32,
        }
    }
}

/// The first message of each side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The protocol versions that the peer speaks.
    pub protocol: Range,
    /// What the peer is on this link.
    pub role: Role,
    /// The peer's name.
    pub peer: PeerId,
    /// New for each process.
    pub incarnation: Incarnation,
    /// Which master or slave of that process, counted from 0. The first one leaves it out.
    #[serde(default, skip_serializing_if = "is_first")]
    pub serial: u32,
    /// Which link of this master's process; a slave sends none.
    #[serde(default)]
    pub session: Option<SessionId>,
    /// What the peer can do beyond the baseline.
    #[serde(default)]
    pub features: Features,
    /// Where the master's keys live; a slave repeats the namespace that it grants.
    #[serde(default)]
    pub namespace: Namespace,
    /// What the peer takes.
    #[serde(default)]
    pub limits: PeerLimits,
    /// How many tasks a slave runs at once; a master has none.
    #[serde(default)]
    pub slots: u32,
    /// The program and its version, for people.
    #[serde(default)]
    pub agent: String,
}

/// Who a peer is, from one of its links to the next: the same name is given to many, the
/// same incarnation has everybody in a process.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    /// Its name.
    pub peer: PeerId,
    /// Of its process.
    pub incarnation: Incarnation,
    /// Which one of that process.
    pub serial: u32,
}

fn is_first(serial: &u32) -> bool {
    *serial == 0
}

/// Two peers cannot work together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HelloError {
    /// The first bytes are not dpfw's.
    #[error("the peer does not speak dpfw")]
    NotDpfw,
    /// The hello cannot be read.
    #[error("the peer's hello cannot be read: {0}")]
    Malformed(String),
    /// No common version.
    #[error("the peer speaks protocol {theirs}, this side speaks {ours}")]
    Version {
        /// What the peer speaks.
        theirs: Range,
        /// What this side speaks.
        ours: Range,
    },
    /// Two masters, or two slaves.
    #[error("both ends of the link are {0}s")]
    SameRole(Role),
    /// A limit that makes no sense: no window, or no attempts.
    #[error("the peer allows nothing to be sent: {0}")]
    Limits(&'static str),
}

impl Hello {
    /// Who the peer is.
    pub fn identity(&self) -> Identity {
        let Self { peer, incarnation, serial, .. } = self;
        Identity { peer: peer.clone(), incarnation: *incarnation, serial: *serial }
    }

    /// The first bytes of this side: the preface and the frame of the hello.
    ///
    /// # Errors
    /// [`HelloError::Malformed`] if it does not fit [`MAX_HELLO`].
    pub fn to_bytes(&self) -> Result<Vec<u8>, HelloError> {
        let body = rmp_serde::to_vec_named(self).map_err(malformed)?;
        if body.len() > MAX_HELLO {
            return Err(malformed(format!("{} bytes, {MAX_HELLO} are allowed", body.len())));
        }
        let header = Header {
            len: body.len() as u32,
            kind: crate::message::kind::HELLO,
            flags: 0,
            conversation: ConversationId::LINK,
        };
        Ok([&PREFACE[..], &header.to_bytes(), &body].concat())
    }

    /// Reads the body of a hello's frame.
    ///
    /// # Errors
    /// [`HelloError::Malformed`] if it is none.
    pub fn from_body(body: &[u8]) -> Result<Self, HelloError> {
        let mut decoder = rmp_serde::Deserializer::from_read_ref(body);
        decoder.set_max_depth(MAX_DEPTH);
        Self::deserialize(&mut decoder).map_err(malformed)
    }

    /// Checks the peer's hello against one's own and gives the version to speak.
    ///
    /// # Errors
    /// [`HelloError`] if there is no common version, both have the same role, or the
    /// peer's limits leave no room for a message.
    pub fn agree(&self, theirs: &Self) -> Result<u16, HelloError> {
        let version = self
            .protocol
            .common(theirs.protocol)
            .ok_or(HelloError::Version { theirs: theirs.protocol, ours: self.protocol })?;
        if theirs.role == self.role {
            return Err(HelloError::SameRole(self.role));
        }
        if theirs.limits.window < crate::limits::CHUNK as u64 {
            return Err(HelloError::Limits("its window is smaller than a chunk"));
        }
        if theirs.limits.attempts == 0 {
            return Err(HelloError::Limits("it takes no attempts"));
        }
        Ok(version)
    }
}

/// A hello is a map of values and small maps; later versions may add one level.
const MAX_DEPTH: usize = 8;

fn malformed(reason: impl fmt::Display) -> HelloError {
    HelloError::Malformed(crate::error::quoted(&reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(role: Role, min: u16, max: u16) -> Hello {
        Hello {
            protocol: Range { min, max },
            role,
            peer: PeerId::new("someone").expect("printable"),
            incarnation: Incarnation(1),
            serial: 0,
            session: None,
            features: Features::default(),
            namespace: Namespace::default(),
            limits: PeerLimits::default(),
            slots: 1,
            agent: String::new(),
        }
    }

    #[test]
    fn the_newest_common_version_is_spoken() {
        let ours = hello(Role::Master, 1, 3);
        assert_eq!(ours.agree(&hello(Role::Slave, 2, 7)), Ok(3));
        let error = ours.agree(&hello(Role::Slave, 4, 7)).expect_err("no overlap");
        assert_eq!(error.to_string(), "the peer speaks protocol 4 to 7, this side speaks 1 to 3");
    }

    #[test]
    fn two_masters_do_not_link() {
        let ours = hello(Role::Master, 1, 1);
        assert_eq!(ours.agree(&ours.clone()), Err(HelloError::SameRole(Role::Master)));
    }

    #[test]
    fn a_later_versions_hello_is_readable() {
        #[derive(Serialize)]
        struct Later {
            protocol: Range,
            role: Role,
            peer: &'static str,
            incarnation: u64,
            something_new: Vec<u8>,
        }
        let later = Later {
            protocol: Range { min: 2, max: 9 },
            role: Role::Slave,
            peer: "s",
            incarnation: 7,
            something_new: vec![1, 2],
        };
        let bytes = rmp_serde::to_vec_named(&later).expect("encodes");
        let hello = Hello::from_body(&bytes).expect("decodes");
        assert_eq!(hello.limits, PeerLimits::default());
        assert_eq!(hello.protocol.max, 9);
    }
}
