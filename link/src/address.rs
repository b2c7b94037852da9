//! Which addresses may be listened on and dialled.
//!
//! Invariant: beyond loopback nothing is opened unless links are encrypted, or the operator
//! said that they need not be, whatever a name resolves to.

use std::net::{IpAddr, SocketAddr};

/// How far links may reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Only this machine.
    Loopback,
    Anywhere,
}

/// An address that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// It leads beyond this machine.
    #[error(
        "{address} is beyond loopback, where links have to be encrypted. Make certificates \
         with\n    dpfw certs init certs\n    dpfw certs issue --dir certs --role ROLE --name NAME\n\
         and give them to both sides: --identity certs/NAME.pem --authority certs/ca.pem \
         (Security::tls). On a network where everybody may run code on this machine, \
         --insecure-network (Security::insecure) does without"
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
pub(crate) async fn resolve(address: &str, reach: Reach) -> Result<Vec<SocketAddr>, AddressError> {
    let unknown = |source| AddressError::Unknown { address: address.into(), source };
    let found: Vec<_> = tokio::net::lookup_host(address).await.map_err(unknown)?.collect();
    if found.is_empty() {
        return Err(unknown(std::io::Error::other("the name has no address")));
    }
    for &address in &found {
        let allowed = reach == Reach::Anywhere || is_loopback(address.ip());
        if !allowed {
            return Err(AddressError::BeyondLoopback { address });
        }
    }
    Ok(found)
}

/// Whether an address is this machine's own, of either version.
pub fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_loopback_unless_told() {
        for good in ["127.0.0.1:1", "[::1]:1", "127.9.9.9:0", "[::ffff:127.0.0.1]:5"] {
            assert!(resolve(good, Reach::Loopback).await.is_ok(), "{good}");
        }
        for bad in ["0.0.0.0:1", "192.0.2.1:1", "[::]:1", "[::ffff:192.0.2.1]:5"] {
            let error = resolve(bad, Reach::Loopback).await.expect_err(bad);
            assert!(matches!(error, AddressError::BeyondLoopback { .. }), "{bad}");
            assert!(resolve(bad, Reach::Anywhere).await.is_ok(), "{bad}");
        }
    }

    #[tokio::test]
    async fn nonsense_is_told_as_such() {
        let error = resolve("nonsense", Reach::Loopback).await.expect_err("no port");
        assert!(error.to_string().contains("write HOST:PORT"), "{error}");
    }
}
