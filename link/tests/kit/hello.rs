//! What a peer of these tests says of itself.

use dpfw_protocol::hello::{Features, Hello, Namespace, PeerLimits, Range, Role};
use dpfw_protocol::ids::{Incarnation, PeerId};
use std::error::Error;

pub(crate) fn hello(role: Role, protocol: Range) -> Result<Hello, Box<dyn Error>> {
    Ok(Hello {
        protocol,
        role,
        peer: PeerId::new(role.to_string())?,
        incarnation: Incarnation(1),
        serial: 0,
        session: None,
        features: Features::default(),
        namespace: Namespace::default(),
        limits: PeerLimits::default(),
        slots: 1,
        agent: "test".into(),
    })
}
