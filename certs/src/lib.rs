//! Certificates: what they say of a peer, and a private authority that issues them.

#![forbid(unsafe_code)]
