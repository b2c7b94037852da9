//! What a line of the audit log has.
//!
//! Invariants: a line is one line, whatever peers call themselves: what acts on a terminal, or on
//! how the text around it is shown, is escaped; a line is bounded, for every text in it is.

use dpfw_protocol::hello::{Hello, Role};
use dpfw_protocol::ids::PeerId;
use dpfw_protocol::text::acts_on_terminal;
use serde::Serialize;
use std::fmt::Write as _;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Characters of a text that come from elsewhere: reasons, names of functions, addresses.
const MOST: usize = 512;

/// Links, and modules, of one master that are lines of their own in the time in which a flood is
/// counted: as many as honest ones have at a start.
const MANY: u32 = 64;

/// Something that is told of.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum Event {
    /// A connection began, ended, or came to nothing.
    Connection {
        outcome: Outcome,
        /// Where the peer is.
        peer: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        name: Option<PeerId>,
        #[serde(skip_serializing_if = "Option::is_none")]
        role: Option<&'static str>,
        /// How the peer has shown who it is.
        proof: Proof,
        #[serde(skip_serializing_if = "Option::is_none")]
        session: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        why: Option<String>,
    },
    /// A module or an image was loaded, or was not.
    Module {
        outcome: Outcome,
        /// Its hash, or the image's id.
        module: String,
        kind: &'static str,
        /// Where it came from.
        from: Origin,
        /// The first of the masters that wait for it.
        #[serde(skip_serializing_if = "Option::is_none")]
        master: Option<PeerId>,
        /// Of its compiled code.
        #[serde(skip_serializing_if = "Option::is_none")]
        bytes: Option<u64>,
        ms: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        why: Option<String>,
    },
    /// A guest was given something beyond what every guest has.
    Grant {
        what: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        module: Option<String>,
        master: PeerId,
        attempt: u64,
    },
    /// Something was asked for and refused.
    Refusal {
        /// What was asked for.
        what: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        master: Option<PeerId>,
        #[serde(skip_serializing_if = "Option::is_none")]
        module: Option<String>,
        why: String,
    },
    /// Lines that should be here were dropped, or could not be written.
    Lost { lines: u64 },
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    /// A connection became a link.
    Accepted,
    /// It was not let in, or not loaded.
    Refused,
    /// A link came to its end.
    Ended,
    /// A module is ready.
    Loaded,
}

/// How a peer has shown who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Proof {
    /// By a certificate.
    Tls,
    /// By the token of this machine.
    Token,
    /// It is in this process.
    Within,
    /// Not at all.
    None,
}

impl Proof {
    /// How a link knows who its peer is.
    pub(crate) fn of(proof: &dpfw_link::Proof) -> Self {
        match proof {
            dpfw_link::Proof::Certificate(_) => Self::Tls,
            dpfw_link::Proof::Token => Self::Token,
            dpfw_link::Proof::Within => Self::Within,
            // Whoever made the stream vouches for it; nothing was shown.
            _ => Self::None,
        }
    }
}

/// What a peer is, by its certificate, or by what it says.
pub(crate) fn role(theirs: &Hello, proof: &dpfw_link::Proof) -> &'static str {
    match (proof.subject(), theirs.role) {
        (Some(subject), _) => subject.role.as_str(),
        (None, Role::Master) => "master",
        (None, Role::Slave) => "slave",
    }
}

/// Where code came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Origin {
    /// A master sent it, and it was compiled.
    Sent,
    /// It was compiled by an earlier run.
    Cache,
}

/// An event with its time, and how often it was.
#[derive(Debug, Serialize)]
pub(crate) struct Line<'a> {
    /// RFC 3339, UTC.
    time: String,
    #[serde(flatten)]
    event: &'a Event,
    #[serde(skip_serializing_if = "is_one")]
    times: u64,
}

fn is_one(times: &u64) -> bool {
    *times == 1
}

impl<'a> Line<'a> {
    /// Of an event that was so many times, now.
    pub(crate) fn of(event: &'a Event, times: u64) -> Self {
        let now = OffsetDateTime::now_utc();
        let micros = now.replace_microsecond(now.microsecond()).unwrap_or(now);
        // A year has four digits for some time to come.
        Self { time: micros.format(&Rfc3339).unwrap_or_default(), event, times }
    }

    /// The line, with its end.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        // Texts, numbers and words alone: nothing that JSON has no form for.
        let text = serde_json::to_string(self).unwrap_or_default();
        let mut out = String::with_capacity(text.len() + 1);
        for c in text.chars() {
            if acts_on_terminal(c) {
                // Only in texts: outside of them JSON has none of these.
                for unit in c.encode_utf16(&mut [0; 2]) {
                    // Writing to a text cannot fail.
                    let _ = write!(out, "\\u{unit:04x}");
                }
            } else {
                out.push(c);
            }
        }
        out.push('\n');
        out.into_bytes()
    }
}

/// As much of a text as a line has.
pub(crate) fn short(text: impl ToString) -> String {
    let text = text.to_string();
    match text.char_indices().nth(MOST) {
        None => text,
        Some((at, _)) => format!("{}...", &text[..at]),
    }
}

impl Event {
    /// What makes two of them the same, as far as a flood is concerned, and how many of those are
    /// lines of their own; nothing if each is. Reasons are not part of it: who refuses may count in
    /// them. The log is bounded: who makes many lines must not push others' out.
    pub(super) fn alike(&self) -> Option<(String, u32)> {
        let name = |name: &Option<PeerId>| name.as_ref().map_or(String::new(), PeerId::to_string);
        match self {
            Self::Connection { outcome: Outcome::Refused, peer, name, .. } => {
                // Ports are new each time.
                let host = peer.rsplit_once(':').map_or(&**peer, |(host, _)| host);
                let name = name.as_ref().map_or("", PeerId::as_str);
                Some((format!("connection {host} {name}"), 1))
            }
            Self::Connection { outcome, name: of, .. } => {
                Some((format!("connection {outcome:?} {}", name(of)), MANY))
            }
            Self::Module { outcome, master, .. } => {
                Some((format!("module {outcome:?} {}", name(master)), MANY))
            }
            Self::Grant { what, module, master, .. } => {
                let module = module.as_deref().unwrap_or_default();
                Some((format!("grant {what} {module} {master}"), 1))
            }
            Self::Refusal { what, master, .. } => {
                Some((format!("refusal {what} {}", name(master)), 1))
            }
            Self::Lost { .. } => None,
        }
    }
}
