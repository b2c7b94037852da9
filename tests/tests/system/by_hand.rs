//! A slave that has residents and is spoken by hand.
//!
//! Owns: the slave's end of the link. Does not: do anything by itself; the test says when a call
//! is answered, and with what.

use anyhow::{Context, Result, bail};
use dpfw::{Cause, LinkedSlave, Master, MasterBuilder, PeerId, Resident};
use dpfw_protocol::hello::{Hello, Role};
use dpfw_protocol::ids::{MethodId, ResidentId};
use dpfw_protocol::message::{
    BindMethod, BindResident, CallResident, Dispatch, Done, Failed, ResidentOp, ResidentReply,
    ResidentRequest, SpawnAs, Spawned, Timing, kind,
};
use dpfw_protocol::resident::{Class, ResidentInfo, Stage};
use dpfw_protocol::store::{Key, Principal};
use dpfw_test_tasks::{Counter, counter};
use dpfw_tests::fleet::arrival;
use dpfw_tests::peer::{Said, Wire, hello};
use dpfw_tests::wait::{is_pending, within};

/// A master, and a slave of its that is spoken by hand.
pub(crate) struct ByHand {
    pub(crate) master: Master,
    pub(crate) linked: LinkedSlave,
    pub(crate) wire: Wire,
    pub(crate) hello: Hello,
    /// The methods that were declared, by their numbers.
    pub(crate) methods: Vec<BindMethod>,
}

/// A call as it came.
#[derive(Debug)]
pub(crate) struct Called {
    pub(crate) conversation: u64,
    pub(crate) call: CallResident,
    pub(crate) method: String,
    pub(crate) args: Vec<u8>,
}

/// What a slave says of a counter.
pub(crate) fn info(resident: u64, key: &str, mailbox: u32) -> Result<ResidentInfo> {
    Ok(ResidentInfo {
        resident: ResidentId(resident),
        key: Key::new(key)?,
        class: Counter::NAME.into(),
        module: Counter::module().hash(),
        owner: Principal(PeerId::new("somebody")?),
        stage: Stage::Alive,
        served: 0,
        waiting: 0,
        mailbox,
        memory: 1 << 16,
        age_ms: 5,
        restarts: 0,
        saves: true,
        lineage: None,
    })
}

impl ByHand {
    /// Linked in memory.
    pub(crate) async fn start() -> Result<Self> {
        Self::of(Master::builder()).await
    }

    /// The same, of this master.
    pub(crate) async fn of(master: MasterBuilder) -> Result<Self> {
        let (stream, mut wire) = Wire::memory();
        let master = master.attach(stream).background().build().await?;
        let hello = hello(Role::Slave, "s1")?;
        wire.greet(&hello).await?;
        let linked = arrival(&master, "s1").await?;
        Ok(Self { master, linked, wire, hello, methods: Vec::new() })
    }

    /// The same with a counter under `k`, which has the number 1.
    pub(crate) async fn with_counter(mailbox: u32) -> Result<(Self, Resident<Counter>)> {
        let mut scene = Self::start().await?;
        let found = scene.found(info(1, "k", mailbox)?).await?;
        Ok((scene, found))
    }

    /// The master looks for a resident, and finds this one.
    pub(crate) async fn found(&mut self, info: ResidentInfo) -> Result<Resident<Counter>> {
        let key = info.key.to_string();
        let linked = self.linked.clone();
        let mut find = Box::pin(linked.resident::<Counter>(&key));
        assert!(is_pending(&mut find).await);
        self.finds(vec![info]).await?;
        Ok(within("the resident", find).await??)
    }

    /// Answers the next question, which is for one resident.
    pub(crate) async fn finds(&mut self, residents: Vec<ResidentInfo>) -> Result<Key> {
        let (conversation, op) = self.asked().await?;
        let ResidentOp::Find { key } = op else { bail!("{op:?} came") };
        self.reply(conversation, ResidentReply { residents, ..Default::default() }).await?;
        Ok(key)
    }

    /// The next question.
    pub(crate) async fn asked(&mut self) -> Result<(u64, ResidentOp)> {
        let said = self.said().await?;
        Ok((said.header.conversation.0, said.read::<ResidentRequest>()?.0.op))
    }

    pub(crate) async fn reply(&mut self, conversation: u64, reply: ResidentReply) -> Result<()> {
        self.wire.send(conversation, &reply, &[]).await
    }

    /// The same, with a payload.
    pub(crate) async fn reply_with(
        &mut self,
        conversation: u64,
        reply: ResidentReply,
        payload: &[u8],
    ) -> Result<()> {
        let reply = ResidentReply { payload: payload.len() as u64, ..reply };
        self.wire.send(conversation, &reply, payload).await
    }

    /// What comes next, but for what declares something or may come at any time.
    pub(crate) async fn said(&mut self) -> Result<Said> {
        loop {
            let said = self.wire.next().await?.context("the master is gone")?;
            match said.header.kind {
                kind::HEARTBEAT => {}
                kind::BIND_METHOD => {
                    let method = said.read::<BindMethod>()?.0;
                    assert_eq!(method.method, MethodId(self.methods.len() as u32));
                    self.methods.push(method);
                }
                _ => return Ok(said),
            }
        }
    }

    /// The next call.
    pub(crate) async fn called(&mut self) -> Result<Called> {
        let said = self.said().await?;
        let (call, args) = said.read::<CallResident>()?;
        let method = self.methods.get(call.method.0 as usize).context("it was not declared")?;
        let method = method.name.clone();
        Ok(Called { conversation: said.header.conversation.0, call, method, args })
    }

    /// Answers a call with a small number.
    pub(crate) async fn done(&mut self, called: &Called, result: u8) -> Result<()> {
        let timing = Timing { queued_us: 1, init_us: 0, run_us: 2, memory: 3 };
        let done = Done { timing, payload: 1, kept: None };
        self.wire.send(called.conversation, &done, &[result]).await
    }

    pub(crate) async fn fail(&mut self, called: &Called, cause: Cause) -> Result<()> {
        let failed = Failed { timing: Timing::default(), failure: cause.into() };
        self.wire.send(called.conversation, &failed, &[]).await
    }

    /// Is asked to spawn a resident: in which conversation, as what, with which constructor and
    /// payload.
    pub(crate) async fn spawned(&mut self) -> Result<(u64, SpawnAs, String, Vec<u8>)> {
        let mut constructor = None;
        loop {
            let said = self.said().await?;
            match said.header.kind {
                kind::BIND_RESIDENT => {
                    constructor = Some(said.read::<BindResident>()?.0.constructor);
                }
                kind::DISPATCH => {
                    let (dispatch, args) = said.read::<Dispatch>()?;
                    let spawn = dispatch.extras.and_then(|extras| extras.spawn);
                    let spawn = *spawn.context("it spawns nothing")?;
                    let constructor = constructor.context("it was not declared")?;
                    return Ok((said.header.conversation.0, spawn, constructor, args));
                }
                other => bail!("kind {other} came"),
            }
        }
    }

    /// It has spawned one.
    pub(crate) async fn has_spawned(&mut self, attempt: u64, resident: ResidentInfo) -> Result<()> {
        let result = rmp_serde::to_vec_named(&Spawned { resident, was_there: false })?;
        let done = Done { timing: Timing::default(), payload: result.len() as u64, kept: None };
        self.wire.send(attempt, &done, &result).await
    }

    /// Another link of the master, to a slave that says this of itself.
    pub(crate) async fn another(&mut self, hello: &Hello) -> Result<Wire> {
        let (stream, mut wire) = Wire::memory();
        self.master.attach(stream);
        wire.greet(hello).await?;
        Ok(wire)
    }

    /// Another slave of the master.
    pub(crate) async fn beside(&mut self, name: &str) -> Result<Self> {
        let hello = hello(Role::Slave, name)?;
        let wire = self.another(&hello).await?;
        let linked = arrival(&self.master, name).await?;
        let master = self.master.clone();
        Ok(Self { master, linked, wire, hello, methods: Vec::new() })
    }
}

/// A bump, which takes nothing.
pub(crate) fn bump() -> dpfw::MethodCall<Counter, u64> {
    counter::bump()
}
