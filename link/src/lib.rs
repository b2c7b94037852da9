//! A link: two peers of dpfw over any byte stream.
//!
//! Owns: what master and slave do alike on the network. Dialling and listening
//! ([`dial`], [`listen`]), which addresses are allowed ([`address`]), the handshake
//! ([`Link::establish`]), how links are secured ([`security`]) and who is admitted ([`gate`]),
//! reading frames ([`Inbox`]), writing them in batches ([`Outbox`]), and the thread that keeps idle links alive ([`heart`]). Does not:
//! understand messages beyond the hello and the heartbeat, or decide what follows from a
//! loss.

#![forbid(unsafe_code)]

pub mod address;
pub mod dial;
mod error;
#[doc(hidden)]
pub mod fuzzing;
pub mod gate;
pub mod heart;
mod inbox;
pub mod inlet;
mod link;
pub mod listen;
mod outbox;
pub mod security;
mod stream;
mod user;

pub use error::LinkError;
pub use inbox::Inbox;
pub use link::{Link, identity};
pub use outbox::{Leaves, Outbox, Overrun};
pub use security::knock::{KNOCK, TokenError};
pub use security::proof::{Proof, ProofError};
pub use security::tls::chain::Chain;
pub use security::tls::shake::TlsError;
pub use stream::Stream;
pub use user::user_directory;
