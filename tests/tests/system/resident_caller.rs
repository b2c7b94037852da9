//! A master by hand that spawns residents and calls them.
//!
//! Owns: the numbers of what it says, and the answers that came for another one. Does not: keep
//! to any rule; the test decides. Invariant: an answer is taken once.

use anyhow::{Context, Result, bail, ensure};
use dpfw::{Module, PeerId};
use dpfw_protocol::error::Cause;
use dpfw_protocol::hello::Role;
use dpfw_protocol::ids::{BindId, ConversationId, MethodId, ResidentId};
use dpfw_protocol::message::{
    BindMethod, BindResident, CallFlags, CallResident, Cancel, Dispatch, Done, Extras, Failed,
    ResidentOp, ResidentReply, ResidentRequest, SpawnAs, Spawned, TaskFlags, There, Withdraw, kind,
};
use dpfw_protocol::resident::{Mailbox, Saving};
use dpfw_protocol::store::Key;
use dpfw_tests::peer::{Said, Wire, hello};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::HashMap;

/// See the module's page.
pub(crate) struct Caller {
    pub(crate) wire: Wire,
    module: Module,
    attempts: u64,
    others: u64,
    constructors: Vec<String>,
    methods: Vec<String>,
    heard: HashMap<u64, Said>,
}

/// Arguments as a list: none are an empty one.
fn list(args: &impl Serialize) -> Result<Vec<u8>> {
    let args = rmp_serde::to_vec(args)?;
    Ok(if args == [0xc0] { vec![0x90] } else { args })
}

/// A resident under a key, without anything special.
pub(crate) fn under(key: &str) -> Result<SpawnAs> {
    Ok(SpawnAs {
        key: Key::new(key)?,
        there: There::Refuse,
        restart: None,
        on_restart: Mailbox::Keep,
        mailbox: 0,
        saving: Saving::default(),
        durable: false,
        state: None,
        held: false,
        lineage: None,
    })
}

impl Caller {
    /// Dials a slave that has this module.
    pub(crate) async fn dial(address: &str, name: &str, module: &Module) -> Result<Self> {
        Self::over(Wire::master(address, name).await?, module)
    }

    /// The same in another namespace.
    pub(crate) async fn elsewhere(address: &str, name: &str, module: &Module) -> Result<Self> {
        let mut wire = Wire::dial(address).await?;
        let namespace = dpfw::Namespace::new("elsewhere")?;
        let ours = dpfw_protocol::hello::Hello { namespace, ..hello(Role::Master, name)? };
        wire.greet(&ours).await?;
        Self::over(wire, module)
    }

    fn over(wire: Wire, module: &Module) -> Result<Self> {
        Ok(Self {
            wire,
            module: module.clone(),
            attempts: 0,
            others: ConversationId::OTHERS.0,
            constructors: Vec::new(),
            methods: Vec::new(),
            heard: HashMap::new(),
        })
    }

    /// A number of its own.
    pub(crate) fn next(&mut self) -> u64 {
        self.others += 1;
        self.others
    }

    async fn constructor(&mut self, name: &str) -> Result<BindId> {
        if let Some(at) = self.constructors.iter().position(|known| known == name) {
            return Ok(BindId(at as u32));
        }
        let bind = BindId(self.constructors.len() as u32);
        let (module, constructor) = (self.module.hash(), name.to_owned());
        let message = BindResident { bind, module, constructor, expects: None };
        self.wire.send(0, &message, &[]).await?;
        self.constructors.push(name.to_owned());
        Ok(bind)
    }

    async fn method(&mut self, name: &str) -> Result<MethodId> {
        if let Some(at) = self.methods.iter().position(|known| known == name) {
            return Ok(MethodId(at as u32));
        }
        let method = MethodId(self.methods.len() as u32);
        let (module, name) = (self.module.hash(), name.to_owned());
        let message = BindMethod { method, module, name: name.clone(), expects: None };
        self.wire.send(0, &message, &[]).await?;
        self.methods.push(name);
        Ok(method)
    }

    /// Dispatches an attempt to spawn; gives its number.
    pub(crate) async fn begin_spawn(
        &mut self,
        constructor: &str,
        args: impl Serialize,
        terms: SpawnAs,
    ) -> Result<u64> {
        let args = list(&args)?;
        self.begin_spawn_with(constructor, &args, terms).await
    }

    /// The same with arguments as they are.
    pub(crate) async fn begin_spawn_with(
        &mut self,
        constructor: &str,
        args: &[u8],
        terms: SpawnAs,
    ) -> Result<u64> {
        let bind = self.constructor(constructor).await?;
        self.attempts += 1;
        let extras = Extras { spawn: Some(Box::new(terms)), ..Extras::default() };
        let dispatch = Dispatch {
            bind,
            flags: TaskFlags::ONCE,
            budget_us: None,
            payload: args.len() as u64,
            extras: Some(Box::new(extras)),
        };
        self.wire.send(self.attempts, &dispatch, args).await?;
        Ok(self.attempts)
    }

    /// What came of an attempt to spawn.
    pub(crate) async fn spawned(&mut self, attempt: u64) -> Result<Result<Spawned, Cause>> {
        let bytes = self.outcome(attempt).await?;
        bytes
            .map(|bytes| Ok(rmp_serde::from_slice(&bytes)?))
            .map_or_else(|e| Ok(Err(e)), |v: Result<_>| v.map(Ok))
    }

    /// Spawns; it has to succeed.
    pub(crate) async fn spawn(
        &mut self,
        constructor: &str,
        args: impl Serialize,
        terms: SpawnAs,
    ) -> Result<ResidentId> {
        let attempt = self.begin_spawn(constructor, args, terms).await?;
        Ok(self.spawned(attempt).await??.resident.resident)
    }

    /// Calls; gives the call's number.
    pub(crate) async fn call(
        &mut self,
        resident: ResidentId,
        method: &str,
        args: impl Serialize,
    ) -> Result<u64> {
        self.call_within(resident, method, args, None).await
    }

    /// The same, to be over within so many microseconds.
    pub(crate) async fn call_within(
        &mut self,
        resident: ResidentId,
        method: &str,
        args: impl Serialize,
        budget_us: Option<u64>,
    ) -> Result<u64> {
        let (method, args) = (self.method(method).await?, list(&args)?);
        let (number, payload) = (self.next(), args.len() as u64);
        let flags = CallFlags::default();
        let call = CallResident { resident, method, flags, budget_us, payload };
        self.wire.send(number, &call, &args).await?;
        Ok(number)
    }

    /// Calls, and has the result.
    pub(crate) async fn value<T: DeserializeOwned>(
        &mut self,
        resident: ResidentId,
        method: &str,
        args: impl Serialize,
    ) -> Result<T> {
        let call = self.call(resident, method, args).await?;
        self.result(call).await
    }

    /// The result of a call that was made.
    pub(crate) async fn result<T: DeserializeOwned>(&mut self, call: u64) -> Result<T> {
        Ok(rmp_serde::from_slice(&self.outcome(call).await??)?)
    }

    /// Calls, and has the cause of its failure.
    pub(crate) async fn failure(
        &mut self,
        resident: ResidentId,
        method: &str,
        args: impl Serialize,
    ) -> Result<Cause> {
        let call = self.call(resident, method, args).await?;
        self.cause(call).await
    }

    /// The cause of the failure of a call that was made.
    pub(crate) async fn cause(&mut self, call: u64) -> Result<Cause> {
        match self.outcome(call).await? {
            Err(cause) => Ok(cause),
            Ok(bytes) => bail!("{call} gave {bytes:x?}"),
        }
    }

    /// How an attempt or a call ended.
    pub(crate) async fn outcome(&mut self, number: u64) -> Result<Result<Vec<u8>, Cause>> {
        let said = self.hear(number, &[kind::DONE, kind::FAILED]).await?;
        match said.header.kind {
            kind::DONE => Ok(Ok(said.read::<Done>()?.1)),
            _ => Ok(Err(said.read::<Failed>()?.0.failure.into())),
        }
    }

    /// Asks; gives the request's number.
    pub(crate) async fn ask(&mut self, op: ResidentOp) -> Result<u64> {
        let number = self.next();
        self.wire.send(number, &ResidentRequest { op }, &[]).await?;
        Ok(number)
    }

    /// The answer to a request that was made, and its payload.
    pub(crate) async fn answer(&mut self, request: u64) -> Result<(ResidentReply, Vec<u8>)> {
        self.hear(request, &[kind::RESIDENT_REPLY]).await?.read()
    }

    /// Asks, and has the answer, which has to be no failure.
    pub(crate) async fn asked(&mut self, op: ResidentOp) -> Result<ResidentReply> {
        let request = self.ask(op).await?;
        let (reply, _) = self.answer(request).await?;
        match reply.failure {
            Some(failure) => Err(Cause::from(failure).into()),
            None => Ok(reply),
        }
    }

    /// The key's resident, if there is one.
    pub(crate) async fn found(
        &mut self,
        key: &str,
    ) -> Result<Option<dpfw_protocol::resident::ResidentInfo>> {
        let reply = self.asked(ResidentOp::Find { key: Key::new(key)? }).await?;
        ensure!(reply.residents.len() <= 1, "{reply:?}");
        Ok(reply.residents.into_iter().next())
    }

    pub(crate) async fn cancel(&mut self, number: u64) -> Result<()> {
        self.wire.send(number, &Cancel {}, &[]).await
    }

    pub(crate) async fn withdraw(&mut self, number: u64) -> Result<()> {
        self.wire.send(number, &Withdraw {}, &[]).await
    }

    /// The frame of one of these kinds in a conversation; others are kept for whoever asks.
    async fn hear(&mut self, number: u64, kinds: &[u8]) -> Result<Said> {
        if let Some(said) = self.heard.remove(&number) {
            return Ok(said);
        }
        loop {
            let said = self.wire.next().await?.context("the link ended")?;
            let ends = [kind::DONE, kind::FAILED, kind::RESIDENT_REPLY].contains(&said.header.kind);
            ensure!(said.header.kind != kind::CLOSE, "closed: {said:?}");
            match said.header.conversation.0 == number {
                true if kinds.contains(&said.header.kind) => return Ok(said),
                false if ends => {
                    let (conversation, kind) = (said.header.conversation.0, said.header.kind);
                    let twice = self.heard.insert(conversation, said);
                    ensure!(twice.is_none(), "{conversation} was answered twice, with {kind}");
                }
                _ => {}
            }
        }
    }

    /// Reads what comes until so many answers have, without asking for them.
    pub(crate) fn unasked(&self) -> usize {
        self.heard.len()
    }
}

/// A name.
pub(crate) fn peer(name: &str) -> Result<PeerId> {
    Ok(PeerId::new(name)?)
}
