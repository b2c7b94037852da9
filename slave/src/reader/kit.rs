//! A slave, and a peer that proved this or that, over memory.

use crate::session::serve;
use crate::slave::Slave;
use crate::standing::{Namespaces, Rights, Standing};
use dpfw_link::gate::Gate;
use dpfw_link::{Link, Stream, identity};
use dpfw_protocol::hello::{Features, Hello, Identity, Namespace, PeerLimits, Role};
use dpfw_protocol::ids::{ConversationId, PeerId, SessionId};
use dpfw_protocol::limits::PROTOCOL;
use dpfw_protocol::message::{
    Message, ResidentOp, ResidentReply, ResidentRequest, StoreReply, StoreRequest, decode,
};
use dpfw_protocol::store::{Key, Principal, StoreOp, Terms};
use std::error::Error;
use std::sync::Arc;

pub(super) type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// The other end of a link.
pub(super) struct Peer {
    pub(super) link: Link,
    pub(super) next: u64,
}

fn hello(role: Role, name: &str, namespace: &str) -> Outcome<Hello> {
    let Identity { incarnation, serial, .. } = identity(name);
    Ok(Hello {
        protocol: PROTOCOL,
        role,
        peer: PeerId::new(name)?,
        incarnation,
        serial,
        session: (role == Role::Master).then_some(SessionId(1)),
        features: Features::default(),
        namespace: Namespace::new(namespace)?,
        limits: PeerLimits::default(),
        slots: 0,
        agent: "a test".into(),
    })
}

/// Links a peer that asks for this namespace and may name those.
pub(super) async fn link(
    slave: &Slave,
    name: &str,
    (asked, may_name): (&str, &[&str]),
    rights: Rights,
) -> Outcome<Peer> {
    let (ours, theirs) = Stream::pair(1 << 20);
    let shared: Result<Vec<_>, _> = may_name.iter().map(|name| Namespace::new(*name)).collect();
    let standing = Standing {
        principal: Principal(PeerId::new(name)?),
        namespaces: Namespaces::These(shared?),
        rights,
    };
    let (core, hello_of_slave) = (Arc::clone(&slave.core), Arc::clone(&slave.hello));
    slave.core.helm.handle().spawn(async move {
        let link = Link::establish_at(ours, &hello_of_slave, &mut Gate::open()).await;
        if let Ok(link) = link {
            serve(core, link, standing).await;
        }
    });
    slave.core.queue.rouse();
    let link = Link::establish(theirs, &hello(Role::Master, name, asked)?).await?;
    Ok(Peer { link, next: 1 << 62 })
}

impl Peer {
    pub(super) fn say<M: Message>(&mut self, message: &M) -> Outcome<ConversationId> {
        self.next += 1;
        let conversation = ConversationId(self.next);
        self.link.outbox.message(conversation, message)?;
        self.link.outbox.flush();
        Ok(conversation)
    }

    /// The next message of this kind, in this conversation, and what came with it.
    pub(super) async fn hear<M: Message>(
        &mut self,
        conversation: ConversationId,
    ) -> Outcome<(M, Vec<u8>)> {
        loop {
            while let Some(frame) = self.link.inbox.next_frame()? {
                if frame.header.kind == M::KIND && frame.header.conversation == conversation {
                    let (message, payload) = decode::<M>(&frame)?;
                    return Ok((message, payload.to_vec()));
                }
            }
            self.link.inbox.fill().await?;
        }
    }

    pub(super) async fn ask<M: Message, A: Message>(&mut self, message: &M) -> Outcome<A> {
        let conversation = self.say(message)?;
        Ok(self.hear(conversation).await?.0)
    }

    pub(super) async fn store(&mut self, op: StoreOp, value: &'static [u8]) -> Outcome<StoreReply> {
        self.next += 1;
        let conversation = ConversationId(self.next);
        let request = StoreRequest { op, terms: Terms::default(), payload: value.len() as u64 };
        self.link.outbox.message_with(conversation, &request, value.to_vec().into())?;
        self.link.outbox.flush();
        Ok(self.hear(conversation).await?.0)
    }

    pub(super) async fn keys(&mut self) -> Outcome<Vec<String>> {
        let op = StoreOp::List { prefix: String::new(), after: None, limit: 100 };
        let entries = self.store(op, b"").await?.entries;
        Ok(entries.into_iter().map(|entry| entry.key.to_string()).collect())
    }

    pub(super) async fn resident(&mut self, op: ResidentOp) -> Outcome<ResidentReply> {
        self.ask(&ResidentRequest { op }).await
    }
}

pub(super) fn key(name: &str) -> Outcome<Key> {
    Ok(Key::new(name)?)
}

pub(super) fn slave() -> Outcome<Slave> {
    Ok(Slave::builder().slots(1).no_cache().build()?)
}
