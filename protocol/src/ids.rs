//! Names of things on the wire. Every id is a type of its own, so that none is taken for
//! another.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// A peer's name: the same after a restart if the operator gave it, printable, at most
/// [`MAX_PEER_ID`] bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PeerId(Arc<str>);

/// The longest peer id, in bytes; a certificate's common name is no longer than 64.
pub const MAX_PEER_ID: usize = 64;

/// A text is no peer id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no peer id: 1 to {MAX_PEER_ID} bytes of printable ASCII without spaces")]
pub struct BadPeerId(String);

impl PeerId {
    /// Takes a text as an id.
    ///
    /// # Errors
    /// [`BadPeerId`] unless it is 1 to [`MAX_PEER_ID`] bytes of printable ASCII without
    /// spaces: ids are printed in logs, where nothing of a peer's choosing may act.
    pub fn new(text: impl Into<String>) -> Result<Self, BadPeerId> {
        let text = text.into();
        let printable = text.bytes().all(|b| b.is_ascii_graphic());
        if text.is_empty() || text.len() > MAX_PEER_ID || !printable {
            return Err(BadPeerId(text));
        }
        Ok(Self(text.into()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for PeerId {
    type Error = BadPeerId;
    fn try_from(text: String) -> Result<Self, BadPeerId> {
        Self::new(text)
    }
}

impl From<PeerId> for String {
    fn from(id: PeerId) -> Self {
        (*id.0).into()
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// One process's lifetime: a random number, new for each process.
    Incarnation(u64)
}
number! {
    /// One link's lifetime, counted by the master within its incarnation.
    SessionId(u64)
}
number! {
    /// Frames that belong together on one link. The master allocates ids upwards from 1
    /// and never reuses one; 0 belongs to the link itself, the upper half to ports.
    ConversationId(u64)
}
number! {
    /// One try of a task on one slave: the id of its conversation, within the session.
    AttemptId(u64)
}
number! {
    /// A task of a module as this session calls it, declared once by `Bind`.
    BindId(u32)
}
number! {
    /// A method of a resident as this session calls it, declared once by `BindMethod`.
    MethodId(u32)
}
number! {
    /// A resident at its slave: counted from 1 in each incarnation, never used again.
    ResidentId(u64)
}

/// One end of an attempt's input or output, through which bytes flow while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Port {
    /// From the master: a program's stdin.
    Input,
    /// From the slave: a program's stdout.
    Output,
}

/// Conversations of ports begin here: two for each attempt.
const PORTS: u64 = 1 << 63;

/// A master's conversations that are no attempts begin here.
const OTHERS: u64 = 1 << 62;

impl AttemptId {
    /// The conversation that the attempt's frames carry.
    pub fn conversation(self) -> ConversationId {
        ConversationId(self.0)
    }

    /// The conversation of one of its ports.
    pub fn port(self, port: Port) -> ConversationId {
        ConversationId(PORTS | self.0 << 1 | u64::from(port == Port::Output))
    }
}

impl ConversationId {
    /// The link's own frames: hello, heartbeats, closing.
    pub const LINK: Self = Self(0);

    /// The first of a master's conversations that are no attempts: they are counted from here,
    /// attempts from 1.
    pub const OTHERS: Self = Self(OTHERS);

    /// Whether it is one that a master began, and no attempt: a call of a resident, or a
    /// question.
    pub fn is_other(self) -> bool {
        (OTHERS..PORTS).contains(&self.0)
    }

    /// The attempt whose conversation this is.
    pub fn attempt(self) -> AttemptId {
        AttemptId(self.0)
    }

    /// The attempt and the port whose conversation this is, if it is a port's.
    pub fn port(self) -> Option<(AttemptId, Port)> {
        let port = if self.0 & 1 == 0 { Port::Input } else { Port::Output };
        (self.0 >= PORTS).then_some((AttemptId((self.0 & !PORTS) >> 1), port))
    }
}

macro_rules! hash {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(#[serde(with = "serde_bytes")] [u8; 32]);

        impl $name {
            /// A hash computed elsewhere.
            pub const fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// The 32 bytes.
            pub fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }

            /// All 64 hexadecimal digits, as file names and JSON show it.
            pub fn to_hex(&self) -> String {
                self.0.iter().map(|b| format!("{b:02x}")).collect()
            }
        }

        impl fmt::Display for $name {
            /// The first eight digits, enough for a person.
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0[..4].iter().try_for_each(|b| write!(f, "{b:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }
    };
}

hash! {
    /// A module's name: BLAKE3 of its bytes.
    ModuleHash
}
hash! {
    /// What an image is called: BLAKE3 of its module's hash, its init's name and the arguments.
    ImageId
}

impl ModuleHash {
    /// The hash of a module's bytes.
    pub fn of(wasm: &[u8]) -> Self {
        Self(*blake3::hash(wasm).as_bytes())
    }

    /// The hash that [`to_hex`](Self::to_hex) shows so; nothing if these are not 64 digits.
    ///
    /// ```
    /// use dpfw_protocol::ids::ModuleHash;
    ///
    /// let hash = ModuleHash::of(b"\0asm");
    /// assert_eq!(ModuleHash::from_hex(&hash.to_hex()), Some(hash));
    /// assert_eq!(ModuleHash::from_hex("f00"), None);
    /// ```
    pub fn from_hex(text: &str) -> Option<Self> {
        Some(Self(*blake3::Hash::from_hex(text).ok()?.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_id_is_printable() {
        assert!(PeerId::new("slave-1").is_ok());
        for bad in ["", "a b", "a\u{1b}[31m", "ä", &"x".repeat(65)] {
            assert!(PeerId::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_port_names_its_attempt() {
        let largest = AttemptId((1 << 62) - 1);
        for attempt in [AttemptId(1), AttemptId(2), largest] {
            for port in [Port::Input, Port::Output] {
                assert_eq!(attempt.port(port).port(), Some((attempt, port)));
            }
            assert_eq!(attempt.conversation().port(), None);
        }
        assert_eq!(largest.port(Port::Output), ConversationId(u64::MAX));
    }

    #[test]
    fn a_module_is_named_by_its_bytes() {
        let hash = ModuleHash::of(b"\0asm");
        assert_eq!(hash, ModuleHash::of(b"\0asm"));
        assert_ne!(hash, ModuleHash::of(b"\0asn"));
        assert_eq!(hash.to_hex().len(), 64);
        assert!(hash.to_hex().starts_with(&hash.to_string()));
    }
}
