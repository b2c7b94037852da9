//! Listening.

use crate::address::{AddressError, Network, resolve};
use crate::stream::Stream;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpListener;

/// A port that peers dial.
#[derive(Debug)]
pub struct Listener(TcpListener);

/// A port cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListenError {
    /// The address cannot be used.
    #[error(transparent)]
    Address(#[from] AddressError),
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

impl Listener {
    /// Binds `HOST:PORT`; port 0 takes a free one.
    ///
    /// # Errors
    /// [`ListenError`] if the address is not allowed, or taken.
    pub async fn bind(address: &str, network: Network) -> Result<Self, ListenError> {
        let addresses = resolve(address, network).await?;
        let bound = TcpListener::bind(&addresses[..]).await;
        let refused = |source| ListenError::Refused { address: address.into(), source };
        Ok(Self(bound.map_err(refused)?))
    }

    /// Where it listens.
    ///
    /// # Errors
    /// What the system says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    /// The next peer that dials. Without descriptors it waits; established links go on.
    /// Cancel safe.
    pub async fn accept(&self) -> Stream {
        loop {
            match self.0.accept().await {
                Ok((stream, _)) => return Stream::tcp(stream),
                Err(error) => {
                    tracing::warn!(%error, "a connection cannot be accepted");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
}
