//! Bounds on what a peer may send, each with its reason.

use std::time::Duration;

/// The versions of the protocol that this crate speaks, inclusive.
pub const PROTOCOL: crate::hello::Range = crate::hello::Range { min: 1, max: 1 };

/// Bulk payloads are cut into chunks of this size, so that a control frame waits for a few
/// of them at most; see [`crate::send::AHEAD`].
pub const CHUNK: usize = 64 * 1024;

/// A payload up to this size travels in the frame of its message.
pub const INLINE: usize = 16 * 1024;

/// The longest body of a frame: a chunk, or a message with an inline payload.
pub const MAX_BODY: usize = CHUNK + 4096;

/// The longest body before the peer is known.
pub const MAX_HELLO: usize = 4096;

/// The longest encoded message within a body; its length is a `u16`.
pub const MAX_MESSAGE: usize = u16::MAX as usize;

/// How many bytes of one conversation may be under way before its receiver grants more.
pub const WINDOW: u64 = 4 * 1024 * 1024;

/// A receiver grants credit in steps of at most this size, so that grants stay rare; on quick
/// links in smaller ones, see [`crate::credit`].
pub const GRANT: u64 = WINDOW / 4;

/// Slots of a slave: more than any machine runs guests at once, and no more than a list in a message
/// may name. What a slave says of itself is not to draw all tasks there are.
pub const MAX_SLOTS: u32 = 1024;

/// The largest arguments or result unless the slave's operator says otherwise. A wasm32
/// guest cannot hold more than 4 GiB.
pub const MAX_PAYLOAD: u64 = 1 << 30;

/// The largest module. Rust's debug builds reach tens of MiB.
pub const MAX_MODULE: u64 = 256 << 20;

/// The longest name of a task or function, in bytes.
pub const MAX_NAME: usize = 1024;

/// The longest text within an error, a log line or a closing reason, in bytes.
pub const MAX_TEXT: usize = 8 * 1024;

/// Frames of a backtrace that are kept.
pub const MAX_BACKTRACE: usize = 64;

/// Distinct tasks that one session may bind.
pub const MAX_BINDS: usize = 64 * 1024;

/// Attempts of one session that a slave holds, running or queued.
pub const MAX_ATTEMPTS: usize = 8 * 1024;

/// Payloads of one session that may be arriving at once.
pub const MAX_ARRIVING: usize = 1024;

/// Attempts named in one message.
pub const MAX_LISTED: usize = 4 * 1024;

/// Calls in one batch.
pub const MAX_BATCH: usize = 1 << 20;

/// The longest key of the store, in bytes.
pub const MAX_KEY: usize = 1024;

/// Watches of one session at once: each is looked at whenever something is written.
pub const MAX_WATCHES: usize = 64;

/// Keys of entries that one task may need, which its slave looks up before it starts.
pub const MAX_NEEDS: usize = 16;

/// The longest namespace, in bytes.
pub const MAX_NAMESPACE: usize = 64;

/// Bytes of TLS that are read of a peer before it is known.
pub const MAX_TLS: usize = 64 << 10;

/// How long a handshake may take.
pub const HANDSHAKE: Duration = Duration::from_secs(2);

/// Handshakes under way at a port; of more the oldest gives way.
pub const MAX_HANDSHAKES: usize = 256;

/// Of these, those with peers at one address beyond this machine.
pub const MAX_HANDSHAKES_FROM: usize = 64;

/// A heartbeat is sent this often.
pub const HEARTBEAT: Duration = Duration::from_secs(1);

/// A peer that sent nothing for this long is lost.
pub const SILENCE: Duration = Duration::from_secs(5);

/// A peer that takes nothing of what waits for it for this long is cut off, though it sends
/// signs of life: longer than a program computes without letting its runtime read.
pub const STALL: Duration = Duration::from_secs(20);

/// A drain ends after this long, whatever still runs.
pub const DRAIN: Duration = Duration::from_secs(30);

/// Dialling is given up after this many tries.
pub const DIAL_TRIES: u32 = 30;

/// The pause between two tries of dialling, before jitter.
pub const DIAL_PAUSE: Duration = Duration::from_secs(1);

/// Bytes that the system may keep of a link before they are sent. They lie ahead of a
/// heartbeat and of a cancel; enough to keep a fast link busy until the sender wakes.
pub const UNSENT: u32 = 256 * 1024;
