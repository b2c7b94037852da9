//! How two peers on one machine show each other that they can read the same token.
//!
//! The dialler sends [`KNOCK`] and a nonce, the listener answers [`KNOCK`], a nonce of its own
//! and the keyed hash of both, the dialler sends its own keyed hash of them and goes on with
//! its preface. The token itself never crosses; nonces are new for each link, so what was heard
//! once is of no use; and each side's hash says which side it is, so none can be sent back.
//!
//! Does not: encrypt. Invariant: the listener reads nothing else of a peer before its hash is
//! right, and the dialler says nothing else before the listener's is.

use crate::error::LinkError;
use crate::inbox::Inbox;
use crate::link::hear_hello;
use crate::outbox::Outbox;
use crate::security::token::Token;
use dpfw_protocol::hello::{HelloError, PREFACE};

/// The first bytes of a link that is asked for a token.
pub const KNOCK: [u8; 8] = *b"dpfw\r\n\x1ak";

/// Bytes of a nonce.
const NONCE: usize = 32;

/// Bytes of a hash.
const HASH: usize = blake3::OUT_LEN;

/// What the hashes are of, beside the nonces: of the same length, and never the same.
const LISTENER: &[u8; 24] = b"dpfw token, v1: listener";
const DIALLER: &[u8; 24] = b"dpfw token, v1: dialler.";

/// The two peers have no token in common.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// The peer that dialled shows no token.
    #[error(
        "peers on this machine have to show the token of the user who listens, and this one \
         shows none (--insecure-network on one side only, or an older dpfw?)"
    )]
    Unshown,
    /// The peer that dialled has another token.
    #[error(
        "the peer has not the token of the user who listens: both have to be the same user's, \
         or be given the same file (--token FILE)"
    )]
    Wrong,
    /// Who listens has another token; it may be anybody who took the port.
    #[error(
        "who listens there has not this user's token: it is another user's, or was given another \
         file (--token FILE)"
    )]
    Stranger,
    /// Who listens asks for none.
    #[error(
        "who listens there asks for no token: it was started with --insecure-network, which this \
         side has to be told as well"
    )]
    Unasked,
    /// Who listens asks for TLS.
    #[error(
        "who listens there wants TLS: give this side its certificate with --identity FILE and \
         --authority FILE"
    )]
    Encrypted,
}

/// Knocks at a listener.
pub(crate) async fn dial(
    inbox: &mut Inbox,
    outbox: &Outbox,
    token: &Token,
) -> Result<(), LinkError> {
    let ours = nonce()?;
    outbox.say_raw(&[&KNOCK[..], &ours].concat()).await?;
    let [first] = inbox.hear().await?;
    if TLS_RECORDS.contains(&first) {
        // Its alert is shorter than a knock.
        return Err(TokenError::Encrypted.into());
    }
    let rest: [u8; KNOCK.len() - 1] = inbox.hear().await?;
    let is = |magic: [u8; KNOCK.len()]| first == magic[0] && rest == magic[1..];
    if is(PREFACE) {
        // Who asks for no token says hello at once, or why not.
        let hello = hear_hello(inbox).await;
        return Err(hello.err().unwrap_or_else(|| TokenError::Unasked.into()));
    }
    if !is(KNOCK) {
        return Err(HelloError::NotDpfw.into());
    }
    let theirs: [u8; NONCE] = inbox.hear().await?;
    let shown = blake3::Hash::from_bytes(inbox.hear::<HASH>().await?);
    // Comparing hashes takes as long whatever they are.
    if shown != token.hash(&[LISTENER, &ours, &theirs]) {
        return Err(TokenError::Stranger.into());
    }
    outbox.say_raw(token.hash(&[DIALLER, &ours, &theirs]).as_bytes()).await
}

/// Lets in who knocks, and has the token.
pub(crate) async fn accept(
    inbox: &mut Inbox,
    outbox: &Outbox,
    token: &Token,
) -> Result<(), LinkError> {
    let magic: [u8; KNOCK.len()] = inbox.hear().await?;
    if magic == PREFACE {
        return Err(TokenError::Unshown.into());
    }
    if magic != KNOCK {
        return Err(HelloError::NotDpfw.into());
    }
    let theirs: [u8; NONCE] = inbox.hear().await?;
    let ours = nonce()?;
    let hash = token.hash(&[LISTENER, &theirs, &ours]);
    outbox.say_raw(&[&KNOCK[..], &ours, hash.as_bytes()].concat()).await?;
    let shown = blake3::Hash::from_bytes(inbox.hear::<HASH>().await?);
    if shown != token.hash(&[DIALLER, &theirs, &ours]) {
        return Err(TokenError::Wrong.into());
    }
    Ok(())
}

/// With which a record of TLS begins that a listener may send first: an alert, or a handshake.
const TLS_RECORDS: [u8; 2] = [0x15, 0x16];

fn nonce() -> Result<[u8; NONCE], LinkError> {
    let mut nonce = [0; NONCE];
    getrandom::fill(&mut nonce).map_err(std::io::Error::other)?;
    Ok(nonce)
}
