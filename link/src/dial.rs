//! Dialling, again and again with pauses.

use crate::address::{AddressError, resolve};
use crate::error::LinkError;
use crate::link::random;
use crate::security::{Security, SecurityError};
use crate::stream::{End, Stream};
use dpfw_protocol::limits::{DIAL_PAUSE, DIAL_TRIES, HANDSHAKE};
use dpfw_protocol::message::close;
use std::io;
use std::time::Duration;
use tokio::net::TcpStream;

/// How an address is dialled.
#[derive(Clone, Debug)]
pub struct Dial {
    /// `HOST:PORT`.
    pub address: String,
    /// Tries before giving up; `None` for ever.
    pub tries: Option<u32>,
    /// The pause between two tries, on average: from a half to one and a half of it. Beyond 30
    /// tries it grows, to sixteen times as much.
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
    /// Links cannot be secured.
    #[error(transparent)]
    Security(#[from] SecurityError),
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
    /// Somebody answered, and no link came of it.
    #[error("{address} gives no link ({}): {source}", times(*tries))]
    NoLink {
        /// The address.
        address: String,
        /// How often it was tried.
        tries: u32,
        /// Why there was none the last time.
        source: LinkError,
    },
}

impl Dial {
    /// Dials with the defaults: 30 tries, a second apart.
    pub fn new(address: impl Into<String>) -> Self {
        Self { address: address.into(), tries: Some(DIAL_TRIES), pause: DIAL_PAUSE }
    }

    /// Begins to dial, for links that are secured like this.
    pub fn begin(self, security: Security) -> Dialler {
        Dialler { dial: self, security, failed: 0 }
    }

    /// The host that is dialled.
    fn host(&self) -> &str {
        let host = self.address.rsplit_once(':').map_or(&*self.address, |(host, _)| host);
        host.trim_start_matches('[').trim_end_matches(']')
    }
}

/// Somebody who dials one address, again and again.
///
/// A try has failed if no link came of it, whether nobody answered or no hands were shaken.
/// Invariant: between two tries is a pause.
#[derive(Debug)]
pub struct Dialler {
    dial: Dial,
    security: Security,
    /// Since the last link.
    failed: u32,
}

impl Dialler {
    /// What is dialled.
    pub fn address(&self) -> &str {
        &self.dial.address
    }

    /// Connects; on failure pauses and tries again.
    ///
    /// # Errors
    /// [`DialError`] when the tries are used up, or at once if the address is not allowed.
    pub async fn connect(&mut self) -> Result<Stream, DialError> {
        loop {
            let source = match self.once().await? {
                Ok(stream) => {
                    let end = End::Dialled(self.dial.host().to_owned());
                    return Ok(Stream::locked(stream, self.security.lock()?, end));
                }
                Err(source) => source,
            };
            let address = self.dial.address.clone();
            tracing::debug!(address, %source, failed = self.failed, "nobody answers");
            if let Some(tries) = self.fail() {
                return Err(DialError::Unreachable { address, tries, source });
            }
            self.pause().await;
        }
    }

    /// Somebody answered, but no link came of it, or none that lasted: a try has failed.
    /// Pauses.
    ///
    /// # Errors
    /// [`DialError::NoLink`] when the tries are used up.
    pub async fn failed(&mut self, source: LinkError) -> Result<(), DialError> {
        if let Some(tries) = self.fail() {
            let address = self.dial.address.clone();
            return Err(DialError::NoLink { address, tries, source });
        }
        self.pause().await;
        Ok(())
    }

    /// There was a link, which has ended with this: the tries count anew, unless the peer has
    /// refused to keep it. Pauses.
    ///
    /// # Errors
    /// [`DialError::NoLink`] when the tries are used up.
    pub async fn ended(&mut self, with: LinkError) -> Result<(), DialError> {
        if with.is_closed_with(close::REFUSED) {
            return self.failed(with).await;
        }
        self.failed = 0;
        if with.is_closed_with(close::SUPERSEDED) {
            // The peer has a newer link, of which this side may not know before its handshake
            // ends: it is not to be taken for one that is needed.
            tokio::time::sleep(HANDSHAKE).await;
        }
        self.pause().await;
        Ok(())
    }

    async fn once(&self) -> Result<io::Result<TcpStream>, AddressError> {
        let addresses = match resolve(&self.dial.address, self.security.reach()).await {
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

    /// How many tries there were, if there are to be no more.
    fn fail(&mut self) -> Option<u32> {
        self.failed = self.failed.saturating_add(1);
        self.dial.tries.is_some_and(|most| self.failed >= most).then_some(self.failed)
    }

    async fn pause(&self) {
        let doubled = self.failed.saturating_sub(DIAL_TRIES).min(MOST_DOUBLED);
        tokio::time::sleep(jittered(self.dial.pause.saturating_mul(1 << doubled))).await;
    }
}

/// Who is dialled for ever is dialled more and more rarely, down to a sixteenth: it has been
/// away for longer than the tries of everybody else.
const MOST_DOUBLED: u32 = 4;

/// Whether a resolver's error may pass: not that of a text that is no address.
fn is_passing(error: &io::Error) -> bool {
    error.kind() != io::ErrorKind::InvalidInput
}

/// Half of the pause to one and a half: of many who lost the same peer at once, few return
/// at once.
fn jittered(pause: Duration) -> Duration {
    let whole = u64::try_from(pause.as_micros()).unwrap_or(u64::MAX - 1);
    pause / 2 + Duration::from_micros(random() % (whole + 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::Instant;

    #[tokio::test(start_paused = true)]
    async fn it_gives_up_after_its_tries() {
        // A port that was just free, and that nobody listens on.
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = free.local_addr().expect("bound").to_string();
        drop(free);
        let dial = Dial { tries: Some(3), ..Dial::new(address) };
        let error = dial.begin(Security::default()).connect().await.expect_err("nobody is there");
        assert!(matches!(error, DialError::Unreachable { tries: 3, .. }), "{error}");
    }

    #[test]
    fn unless_told_otherwise_it_is_thirty_tries_a_second_apart() {
        let Dial { tries, pause, .. } = Dial::new("a:1");
        assert_eq!((tries, pause), (Some(30), Duration::from_secs(1)));
    }

    #[tokio::test(start_paused = true)]
    async fn handshakes_that_fail_are_tries_and_links_are_not() {
        let mut dialler = Dial { tries: Some(3), ..Dial::new("a:1") }.begin(Security::default());
        for _ in 0..2 {
            dialler.failed(LinkError::Ended).await.expect("there are more");
            dialler.failed(LinkError::Ended).await.expect("there are more");
            dialler.ended(LinkError::Ended).await.expect("there are more");
        }
        dialler.failed(LinkError::Ended).await.expect("there are more");
        let refused = || LinkError::closed(close::REFUSED, "busy");
        dialler.ended(refused()).await.expect("there are more");
        let error = dialler.ended(refused()).await.expect_err("the third");
        let text = "a:1 gives no link (tried 3 times): the peer closed the link: busy";
        assert_eq!(error.to_string(), text);
    }

    #[tokio::test(start_paused = true)]
    async fn f07_who_was_superseded_waits_for_the_newer_link() {
        let mut dialler =
            Dial { pause: Duration::ZERO, ..Dial::new("a:1") }.begin(Security::default());
        let start = Instant::now();
        let superseded = LinkError::closed(close::SUPERSEDED, "newer");
        dialler.ended(superseded).await.expect("there are more");
        assert!(start.elapsed() >= HANDSHAKE);
    }

    #[tokio::test(start_paused = true)]
    async fn f11_pauses_differ_by_chance_and_grow_for_who_dials_for_ever() {
        let pause = Duration::from_secs(1000);
        let mut dialler =
            Dial { pause, tries: None, ..Dial::new("a:1") }.begin(Security::default());
        let mut pauses = std::collections::BTreeSet::new();
        // A timer rounds up to a millisecond.
        let rounded = Duration::from_millis(1);
        for failed in 1..=DIAL_TRIES + 8 {
            let start = Instant::now();
            dialler.failed(LinkError::Ended).await.expect("for ever");
            let whole = pause * (1 << failed.saturating_sub(DIAL_TRIES).min(4));
            let paused = start.elapsed();
            assert!((whole / 2..=whole * 3 / 2 + rounded).contains(&paused), "{paused:?}");
            pauses.insert(paused);
        }
        assert!(pauses.len() > 10, "they were alike");
    }

    #[tokio::test]
    async fn what_is_not_allowed_is_not_tried() {
        let error = Dial::new("192.0.2.1:9")
            .begin(Security::default())
            .connect()
            .await
            .expect_err("beyond loopback");
        assert!(matches!(error, DialError::Address(AddressError::BeyondLoopback { .. })));
        let error = Dial::new("nonsense")
            .begin(Security::default())
            .connect()
            .await
            .expect_err("no address");
        assert!(matches!(error, DialError::Address(AddressError::Unknown { .. })));
    }
}
