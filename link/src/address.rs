//! Which addresses may be listened on and dialled.
//!
//! Invariant: beyond loopback nothing is opened unless the operator said so, whatever a
//! name resolves to.

use std::net::SocketAddr;

/// How far links may reach.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Network {
    /// Only this machine.
    #[default]
    Loopback,
    /// Anywhere, although nothing on the link is encrypted or authenticated.
    Insecure,
}

/// An address that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// It leads beyond this machine.
    #[error(
        "{address} is beyond loopback, and links are neither encrypted nor authenticated yet; \
         use a loopback address, or say --insecure-network (Network::Insecure) on a network \
         where everybody may run code on this machine"
    )]
    BeyondLoopback {
        /// The address.
        address: SocketAddr,
    },
    /// It does not resolve.
    #[error("{address} is no address that can be reached: {source}; write HOST:PORT")]
    Unknown {
        /// The text.
        address: String,
        /// What the resolver said.
        source: std::io::Error,
    },
}

/// Resolves `HOST:PORT`, and refuses what the network policy does not allow.
///
/// # Errors
/// [`AddressError`]; every address that the name resolves to has to be allowed.
pub async fn resolve(address: &str, network: Network) -> Result<Vec<SocketAddr>, AddressError> {
    let unknown = |source| AddressError::Unknown { address: address.into(), source };
    let found: Vec<_> = tokio::net::lookup_host(address).await.map_err(unknown)?.collect();
    if found.is_empty() {
        return Err(unknown(std::io::Error::other("the name has no address")));
    }
    for &address in &found {
        let allowed = network == Network::Insecure || address.ip().to_canonical().is_loopback();
        if !allowed {
            return Err(AddressError::BeyondLoopback { address });
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_loopback_unless_told() {
        for good in ["127.0.0.1:1", "[::1]:1", "127.9.9.9:0", "[::ffff:127.0.0.1]:5"] {
            assert!(resolve(good, Network::Loopback).await.is_ok(), "{good}");
        }
        for bad in ["0.0.0.0:1", "192.0.2.1:1", "[::]:1", "[::ffff:192.0.2.1]:5"] {
            let error = resolve(bad, Network::Loopback).await.expect_err(bad);
            assert!(matches!(error, AddressError::BeyondLoopback { .. }), "{bad}");
            assert!(resolve(bad, Network::Insecure).await.is_ok(), "{bad}");
        }
    }

    #[tokio::test]
    async fn nonsense_is_told_as_such() {
        let error = resolve("nonsense", Network::Loopback).await.expect_err("no port");
        assert!(error.to_string().contains("write HOST:PORT"), "{error}");
    }
}
