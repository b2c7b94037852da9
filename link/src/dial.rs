//! Dialling, again and again with pauses.

use crate::address::{AddressError, Network, resolve};
use crate::link::random;
use crate::stream::Stream;
use dpfw_protocol::limits::{DIAL_PAUSE, DIAL_TRIES, HANDSHAKE};
use std::io;
use std::time::Duration;
use tokio::net::TcpStream;

/// How an address is dialled.
#[derive(Clone, Debug)]
pub struct Dial {
    /// `HOST:PORT`.
    pub address: String,
    /// How far it may lead.
    pub network: Network,
    /// Tries before giving up; `None` for ever.
    pub tries: Option<u32>,
    /// The pause between two tries; up to a quarter is added by chance, so that many who
    /// lost the same peer do not return at once.
    pub pause: Duration,
}

fn times(tries: u32) -> String {
    match tries {
        1 => "tried once".into(),
        tries => format!("tried {tries} times"),
    }
}

/// Nobody answered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DialError {
    /// The address cannot be used.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// Every try failed.
    #[error("{address} cannot be reached ({}): {source}", times(*tries))]
    Unreachable {
        /// The address.
        address: String,
        /// How often it was tried.
        tries: u32,
        /// What the last try said.
        source: io::Error,
    },
}

impl Dial {
    /// Dials with the defaults: 30 tries, a second apart.
    pub fn new(address: impl Into<String>) -> Self {
        let (network, tries, pause) = (Network::Loopback, Some(DIAL_TRIES), DIAL_PAUSE);
        Self { address: address.into(), network, tries, pause }
    }

    /// Connects; on failure pauses and tries again. Cancel safe.
    ///
    /// # Errors
    /// [`DialError`] when the tries are used up, or at once if the address is not allowed.
    pub async fn connect(&self) -> Result<Stream, DialError> {
        let mut tries = 0;
        loop {
            tries += 1;
            match self.once().await? {
                Ok(stream) => return Ok(Stream::tcp(stream)),
                Err(source) if self.tries.is_some_and(|most| tries >= most) => {
                    let address = self.address.clone();
                    return Err(DialError::Unreachable { address, tries, source });
                }
                Err(error) => {
                    tracing::debug!(address = %self.address, %error, tries, "dialling again");
                    self.paused().await;
                }
            }
        }
    }

    /// Waits as long as between two tries, for whoever dials again after a link was lost.
    /// Cancel safe.
    pub async fn paused(&self) {
        tokio::time::sleep(jittered(self.pause)).await;
    }

    async fn once(&self) -> Result<io::Result<TcpStream>, AddressError> {
        let addresses = match resolve(&self.address, self.network).await {
            Ok(addresses) => addresses,
            // A name may be known later; what is not allowed stays so.
            Err(AddressError::Unknown { source, .. }) if is_passing(&source) => {
                return Ok(Err(source));
            }
            Err(error) => return Err(error),
        };
        let connect = TcpStream::connect(&addresses[..]);
        Ok(match tokio::time::timeout(HANDSHAKE, connect).await {
            Ok(outcome) => outcome,
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        })
    }
}

/// Whether a resolver's error may pass: not that of a text that is no address.
fn is_passing(error: &io::Error) -> bool {
    error.kind() != io::ErrorKind::InvalidInput
}

fn jittered(pause: Duration) -> Duration {
    let quarter = pause.as_micros() as u64 / 4;
    pause + Duration::from_micros(random() % (quarter + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_gives_up_after_its_tries() {
        // A port that was just free, and that nobody listens on.
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = free.local_addr().expect("bound").to_string();
        drop(free);
        let dial = Dial { tries: Some(3), ..Dial::new(address) };
        let error = dial.connect().await.expect_err("nobody is there");
        assert!(matches!(error, DialError::Unreachable { tries: 3, .. }), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_is_longer_by_chance() {
        let dial = Dial { pause: Duration::from_secs(1000), ..Dial::new("") };
        let mut pauses = std::collections::BTreeSet::new();
        for _ in 0..20 {
            let start = tokio::time::Instant::now();
            dial.paused().await;
            let pause = start.elapsed();
            // A timer rounds up to a millisecond.
            let most = dial.pause * 5 / 4 + Duration::from_millis(1);
            assert!((dial.pause..=most).contains(&pause), "{pause:?}");
            pauses.insert(pause);
        }
        assert!(pauses.len() > 1, "all were alike");
    }

    #[tokio::test]
    async fn what_is_not_allowed_is_not_tried() {
        let error = Dial::new("192.0.2.1:9").connect().await.expect_err("beyond loopback");
        assert!(matches!(error, DialError::Address(AddressError::BeyondLoopback { .. })));
        let error = Dial::new("nonsense").connect().await.expect_err("no address");
        assert!(matches!(error, DialError::Address(AddressError::Unknown { .. })));
    }
}
