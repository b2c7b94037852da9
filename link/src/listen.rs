//! Listening.

use crate::address::{AddressError, resolve};
use crate::security::{Lock, Security, SecurityError};
use crate::stream::{End, Stream};
use dpfw_protocol::hello::PREFACE;
use dpfw_protocol::ids::ConversationId;
use dpfw_protocol::message::{Close, close, encode};
use rustix::process::{Resource, getrlimit};
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};

/// A port that peers dial.
#[derive(Debug)]
pub struct Listener {
    port: TcpListener,
    lock: Lock,
}

/// A port cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListenError {
    /// The address cannot be used.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// Links cannot be secured.
    #[error(transparent)]
    Security(#[from] SecurityError),
    /// The system refused.
    #[error("{address} cannot be listened on: {source}")]
    Refused {
        /// The address.
        address: String,
        /// What the system said.
        source: io::Error,
    },
}

/// The pause after an accept failed for lack of descriptors or memory.
const PAUSE: Duration = Duration::from_millis(100);

/// Descriptors of the process that are not for peers that dial: what established links need,
/// the files of modules above all, is opened when they are used up.
const SPARE: u64 = 32;

impl Listener {
    /// Binds `HOST:PORT`; port 0 takes a free one.
    ///
    /// # Errors
    /// [`ListenError`] if the address is not allowed, or taken, or there is no token to be had.
    pub async fn bind(address: &str, security: &Security) -> Result<Self, ListenError> {
        let addresses = resolve(address, security.reach()).await?;
        let lock = security.lock()?;
        let bound = TcpListener::bind(&addresses[..]).await;
        let refused = |source| ListenError::Refused { address: address.into(), source };
        Ok(Self { port: bound.map_err(refused)?, lock })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// What the system says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.port.local_addr()
    }

    /// The next peer that dials. Without descriptors it waits; established links go on.
    /// Cancel safe.
    pub async fn accept(&self) -> Stream {
        loop {
            match self.port.accept().await {
                Ok((stream, _)) if leaves_enough(&stream) => {
                    return Stream::locked(stream, self.lock.clone(), End::Accepted);
                }
                Ok((stream, peer)) => {
                    tracing::warn!(%peer, "refused: no descriptors are left");
                    if !matches!(self.lock, Lock::Tls(_)) {
                        refuse(&stream);
                    }
                    drop(stream);
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection cannot be accepted");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
}

/// Whether there are descriptors left beside this one. The system gives the lowest that is
/// free, so its number says how many are in use.
fn leaves_enough(stream: &TcpStream) -> bool {
    let most = getrlimit(Resource::Nofile).current;
    most.is_none_or(|most| stream.as_raw_fd() as u64 + SPARE < most)
}

/// Tells a peer that there is no link to be had, as far as the system takes it at once.
fn refuse(stream: &TcpStream) {
    let mut bytes = PREFACE.to_vec();
    let reason = "busy: no descriptors are left".into();
    let goodbye = Close { code: close::REFUSED, reason };
    if encode(&mut bytes, ConversationId::LINK, &goodbye, &[], true).is_ok() {
        // If it does not arrive, the end of the connection says enough.
        let _ = stream.try_write(&bytes);
    }
}
