//! A peer whose connection takes nothing any more is listened to to its end.

#[path = "kit/hello.rs"]
mod kit;

use dpfw_link::{Inbox, Link, LinkError, Stream};
use dpfw_protocol::hello::Role;
use dpfw_protocol::ids::ConversationId;
use dpfw_protocol::limits::PROTOCOL;
use dpfw_protocol::message::{Close, Heartbeat, close, decode, kind};
use kit::hello;
use std::error::Error;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use tokio::io::{AsyncReadExt, AsyncWrite, WriteHalf};

type Outcome = Result<(), Box<dyn Error>>;

/// A writing end whose peer resets it when the test says so.
struct Fragile {
    writer: WriteHalf<tokio::io::DuplexStream>,
    reset: Arc<AtomicBool>,
}

impl AsyncWrite for Fragile {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.reset.load(Ordering::Relaxed) {
            true => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            false => Pin::new(&mut self.writer).poll_write(cx, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.writer).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.writer).poll_shutdown(cx)
    }
}

/// A master's link to a slave, and the slave's end; nothing can be written to it any more.
async fn reset() -> Result<(Link, Link), Box<dyn Error>> {
    let (near, far) = tokio::io::duplex(1 << 16);
    let reset = Arc::new(AtomicBool::new(false));
    let (reader, writer) = tokio::io::split(near);
    let near = Stream::new(reader, Fragile { writer, reset: Arc::clone(&reset) }, "a slave");
    let (ours, theirs) = (hello(Role::Master, PROTOCOL)?, hello(Role::Slave, PROTOCOL)?);
    let far = Stream::joined(far, "a master");
    let (near, far) =
        tokio::try_join!(Link::establish(near, &ours), Link::establish(far, &theirs))?;
    reset.store(true, Ordering::Relaxed);
    near.outbox.message(ConversationId::LINK, &Heartbeat {})?;
    near.outbox.flush();
    Ok((near, far))
}

async fn read(inbox: &mut Inbox) -> LinkError {
    loop {
        match inbox.next_frame() {
            Ok(Some(frame)) if frame.header.kind == kind::CLOSE => {
                return match decode::<Close>(&frame) {
                    Ok((Close { code, reason }, _)) => LinkError::closed(code, &reason),
                    Err(error) => error.into(),
                };
            }
            Ok(Some(_)) => {}
            Ok(None) => {
                if let Err(error) = inbox.fill().await {
                    return error;
                }
            }
            Err(error) => return error,
        }
    }
}

#[tokio::test]
async fn f17_the_goodbye_of_a_peer_that_takes_nothing_more_is_heard() -> Outcome {
    let (mut near, far) = reset().await?;
    let outbox = near.outbox.clone();
    let goodbye = async {
        tokio::task::yield_now().await;
        far.outbox.close(close::DRAINED, "the slave has drained");
    };
    let (ended, ()) = tokio::join!(Link::drive(&outbox, read(&mut near.inbox)), goodbye);
    assert!(matches!(ended, LinkError::Closed { code: close::DRAINED, .. }), "{ended}");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn one_that_says_nothing_more_is_given_up() -> Outcome {
    let (mut near, _far) = reset().await?;
    let outbox = near.outbox.clone();
    let ended = Link::drive(&outbox, read(&mut near.inbox)).await;
    let LinkError::Io(error) = ended else { return Err(ended.into()) };
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    Ok(())
}

/// What a peer reads that has shaken hands, or has not yet.
async fn read_raw(mut far: tokio::io::DuplexStream) -> Result<Vec<u8>, io::Error> {
    let mut bytes = Vec::new();
    far.read_to_end(&mut bytes).await?;
    Ok(bytes)
}

#[tokio::test]
async fn f17_a_link_that_is_dropped_says_goodbye() -> Outcome {
    let (near, far) = Stream::pair(1 << 16);
    let (ours, theirs) = (hello(Role::Slave, PROTOCOL)?, hello(Role::Master, PROTOCOL)?);
    let (near, mut far) =
        tokio::try_join!(Link::establish(near, &ours), Link::establish(far, &theirs))?;
    drop(near);
    let ended = read(&mut far.inbox).await;
    assert!(matches!(ended, LinkError::Closed { code: close::DONE, .. }), "{ended}");
    Ok(())
}

#[tokio::test]
async fn f17_a_handshake_that_is_dropped_says_goodbye_behind_its_hello() -> Outcome {
    let (near, far) = tokio::io::duplex(1 << 16);
    let ours = hello(Role::Slave, PROTOCOL)?;
    let mut establish = Box::pin(Link::establish(Stream::joined(near, "a master"), &ours));
    let begun = std::future::poll_fn(|cx| Poll::Ready(establish.as_mut().poll(cx).is_pending()));
    assert!(begun.await, "nobody has answered");
    drop(establish);
    let bytes = read_raw(far).await?;
    let said = bytes.strip_prefix(&ours.to_bytes()?[..]).ok_or("no hello")?;
    assert_eq!(said.get(4), Some(&kind::CLOSE), "{said:?}");
    Ok(())
}
