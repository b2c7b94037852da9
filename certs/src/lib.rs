//! Certificates: what they say of a peer, and a private authority that issues them.
//!
//! Owns: how a role, a name and namespaces stand in a certificate ([`Subject`]); reading the files
//! ([`files`]); a directory whose owner issues and revokes ([`Authority`]). Does not: decide whom
//! to trust, open connections, or speak TLS; a link does, and asks here what a certificate says
//! once its chain was verified. Invariants: nothing that a peer sends can make this panic; no
//! private key is ever in a file that others may read.
//!
//! Any authority can issue such certificates. A peer's name is the subject's common name, exactly
//! one; its role and its namespaces are URIs of the subject alternative name. In the words of an
//! openssl configuration:
//!
//! ```text
//! subjectAltName = DNS:slave-1.example.org, URI:dpfw:role:slave, URI:dpfw:namespace:team-a
//! extendedKeyUsage = serverAuth, clientAuth
//! ```

#![forbid(unsafe_code)]

mod authority;
pub mod files;
pub mod place;
mod role;
pub mod show;
mod subject;
mod uri;
mod validity;

pub use authority::{Authority, AuthorityError, Founding, Issued, Request, Revoked};
pub use role::CertRole;
pub use subject::{Serial, Subject, SubjectError};
pub use validity::Validity;
