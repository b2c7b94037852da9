//! The handshake of the token, for fuzzing: not a part of what the crate offers.
//!
//! Owns: either side of it, over bytes that are all that its peer says. Does not: choose them.
//! Invariant: nothing here waits.

use crate::error::LinkError;
use crate::inbox::Inbox;
use crate::outbox::Outbox;
use crate::security::knock;
use crate::security::token::Token;
use dpfw_protocol::limits::MAX_HELLO;
use std::io::{self, Cursor};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use tokio::io::AsyncWrite;

/// Which side of a handshake hears the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Who dials.
    Dialler,
    /// Who listens.
    Listener,
}

/// What a side that has a token comes to when its peer says these bytes and ends, and what it has
/// said meanwhile. Its nonce is new each time, as always.
///
/// # Panics
/// If it waits, which it never has to.
pub fn knock(side: Side, token: [u8; 32], heard: &[u8]) -> (Result<(), LinkError>, Vec<u8>) {
    let said = Said::default();
    let mut inbox = Inbox::new(Box::new(Cursor::new(heard.to_vec())), MAX_HELLO);
    let outbox = Outbox::new(Box::new(said.clone()));
    let token = Token::of(token);
    let mut cx = Context::from_waker(Waker::noop());
    let ended = match side {
        Side::Dialler => pin!(knock::dial(&mut inbox, &outbox, &token)).poll(&mut cx),
        Side::Listener => pin!(knock::accept(&mut inbox, &outbox, &token)).poll(&mut cx),
    };
    let Poll::Ready(ended) = ended else { panic!("it waits for more than there is") };
    let said = std::mem::take(&mut *said.0.lock().unwrap_or_else(PoisonError::into_inner));
    (ended, said)
}

/// Takes everything at once.
#[derive(Clone, Debug, Default)]
struct Said(Arc<Mutex<Vec<u8>>>);

impl AsyncWrite for Said {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
