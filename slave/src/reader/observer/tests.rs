//! What an observer gets, and what it does not.

use crate::reader::kit::{Outcome, Peer, key, link, slave};
use crate::standing::Rights;
use dpfw_protocol::changes::{Changed, Watch};
use dpfw_protocol::error::Cause;
use dpfw_protocol::ids::{
    AttemptId, BindId, ConversationId, ImageId, MethodId, ModuleHash, PeerId, ResidentId,
};
use dpfw_protocol::message::{
    Bind, BindMethod, CallFlags, CallResident, Cancel, Close, Describe, Description, Dispatch,
    Drain, Failed, FetchImage, Locate, Located, ModuleBytes, Recall, Release, Reserve, Reserved,
    ResidentOp, Snapshot, StoreReply, StoreRequest, TaskFlags, close,
};
use dpfw_protocol::store::{StoreOp, Terms};

fn is_not_allowed(failure: Option<dpfw_protocol::error::Failure>) -> bool {
    let cause = failure.map(Cause::from);
    matches!(cause, Some(Cause::NotAllowed { what }) if what.contains("an observer may not"))
}

#[tokio::test]
async fn an_observer_looks_at_its_namespace_and_at_the_slave() -> Outcome {
    let slave = slave()?;
    let mut master = link(&slave, "master", ("team", &["team"]), Rights::Dispatch).await?;
    let mut other = link(&slave, "other", ("other", &[]), Rights::Dispatch).await?;
    let mut observer = link(&slave, "eye", ("team", &["team"]), Rights::Observe).await?;
    let watch = observer.say(&Watch { prefix: String::new(), present: false })?;
    assert_eq!(observer.hear::<Changed>(watch).await?.0.failure, None);
    assert!(master.store(StoreOp::Put { key: key("k")? }, b"value").await?.hit);
    assert!(other.store(StoreOp::Put { key: key("secret")? }, b"value").await?.hit);
    let (changed, _) = observer.hear::<Changed>(watch).await?;
    assert_eq!(changed.changes.len(), 1, "{changed:?}");
    assert_eq!(changed.changes[0].key.as_str(), "k");
    assert_eq!(observer.keys().await?, ["k"], "another namespace is seen");
    let get = observer.say(&StoreRequest {
        op: StoreOp::Get { key: key("k")? },
        terms: Terms::default(),
        payload: 0,
    })?;
    let (reply, value) = observer.hear::<StoreReply>(get).await?;
    assert!(reply.hit && value == b"value", "{reply:?}");
    assert!(!observer.store(StoreOp::Get { key: key("secret")? }, b"").await?.hit);
    assert!(!observer.store(StoreOp::Look { key: key("secret")? }, b"").await?.hit);
    let located: Located = observer.ask(&Locate { keys: vec![key("k")?, key("secret")?] }).await?;
    assert_eq!(located.held.len(), 2);
    let described: Description = observer.ask(&Describe {}).await?;
    assert_eq!((described.slots, described.links, described.store_entries), (1, 3, 2));
    let list = ResidentOp::List { prefix: String::new(), after: None, limit: 10 };
    let listed = observer.resident(list).await?;
    assert!(listed.failure.is_none() && listed.residents.is_empty());
    let found = observer.resident(ResidentOp::Find { key: key("r")? }).await?;
    assert!(found.failure.is_none() && found.residents.is_empty());
    Ok(())
}

#[tokio::test]
async fn what_an_observer_may_not_do_is_refused_in_its_own_words() -> Outcome {
    let slave = slave()?;
    let mut observer = link(&slave, "eye", ("team", &["team"]), Rights::Observe).await?;
    let module = ModuleHash::of(b"module");
    // Words about what it cannot do are passed over.
    observer.say(&Bind { bind: BindId(0), module, task: "t".into(), expects: None })?;
    observer.say(&BindMethod { method: MethodId(0), module, name: "R.m".into(), expects: None })?;
    observer.say(&Cancel {})?;
    observer.say(&Recall { attempts: vec![AttemptId(1)] })?;
    observer.say(&Release {})?;
    let key = key("k")?;
    let writes = [
        StoreOp::Put { key: key.clone() },
        StoreOp::PutIfAbsent { key: key.clone() },
        StoreOp::CompareAndSwap { key: key.clone(), expected: 0 },
        StoreOp::Update { key: key.clone(), expected: 0 },
        StoreOp::Remove { key: key.clone() },
        StoreOp::Pin { key: key.clone(), pinned: true },
    ];
    for op in writes {
        let reply = observer.store(op.clone(), b"").await?;
        assert!(is_not_allowed(reply.failure), "{op:?}");
    }
    let dispatch = Dispatch {
        bind: BindId(0),
        flags: TaskFlags::default(),
        budget_us: None,
        payload: 0,
        extras: None,
    };
    assert!(is_not_allowed(Some(observer.ask::<_, Failed>(&dispatch).await?.failure)));
    let call = CallResident {
        resident: ResidentId(1),
        method: MethodId(0),
        flags: CallFlags::default(),
        budget_us: None,
        payload: 0,
    };
    assert!(is_not_allowed(Some(observer.ask::<_, Failed>(&call).await?.failure)));
    let resident = ResidentId(1);
    let ops = [
        ResidentOp::Stop { resident },
        ResidentOp::HandOver { resident },
        ResidentOp::TakeBack { resident },
        ResidentOp::LetGo { resident },
        ResidentOp::GiveWay { key: key.clone(), left: resident },
        ResidentOp::Moved { resident, to: PeerId::new("there")? },
    ];
    for op in ops {
        assert!(is_not_allowed(observer.resident(op.clone()).await?.failure), "{op:?}");
    }
    let fetch = FetchImage { image: ImageId::from_bytes([7; 32]) };
    assert!(is_not_allowed(observer.ask::<_, Snapshot>(&fetch).await?.failure));
    assert!(!observer.ask::<_, Reserved>(&Reserve { wait: true }).await?.granted);
    assert!(observer.keys().await?.is_empty());
    assert_eq!(slave.core.queue.counts(), (0, 0));
    assert!(!slave.core.is_draining());
    Ok(())
}

#[tokio::test]
async fn a_payload_that_an_observer_may_not_send_is_not_waited_for() -> Outcome {
    let slave = slave()?;
    let mut observer = link(&slave, "eye", ("team", &["team"]), Rights::Observe).await?;
    let large: &[u8] = &[7; 1 << 20];
    let request = StoreRequest {
        op: StoreOp::Put { key: key("k")? },
        terms: Terms::default(),
        payload: large.len() as u64,
    };
    let conversation = ConversationId(1 << 62);
    observer.link.outbox.message_with(conversation, &request, large.to_vec().into())?;
    observer.link.outbox.flush();
    let (reply, _) = observer.hear::<StoreReply>(conversation).await?;
    assert!(is_not_allowed(reply.failure));
    let described: Description = observer.ask(&Describe {}).await?;
    assert_eq!(described.store_entries, 0);
    assert_eq!(slave.core.held.used(), 0);
    Ok(())
}

#[tokio::test]
async fn where_there_is_no_answer_an_observers_link_ends_with_a_reason() -> Outcome {
    async fn closed(mut observer: Peer) -> Outcome<Close> {
        Ok(observer.hear::<Close>(ConversationId::LINK).await?.0)
    }
    let slave = slave()?;
    let mut observer = link(&slave, "eye", ("team", &["team"]), Rights::Observe).await?;
    observer.say(&Drain {})?;
    let said = closed(observer).await?;
    assert_eq!(said.code, close::PROTOCOL);
    assert!(said.reason.contains("an observer may not drain a slave"), "{said:?}");
    assert!(!slave.core.is_draining());
    let mut observer = link(&slave, "eye", ("team", &["team"]), Rights::Observe).await?;
    observer.say(&ModuleBytes { module: ModuleHash::of(b"m"), payload: 0 })?;
    let said = closed(observer).await?;
    assert!(said.reason.contains("an observer may not send code"), "{said:?}");
    Ok(())
}

#[tokio::test]
async fn nobody_is_linked_in_a_namespace_that_it_may_not_name() -> Outcome {
    let slave = slave()?;
    let mut peer = link(&slave, "alice", ("bob", &["team"]), Rights::Dispatch).await?;
    let said = peer.hear::<Close>(ConversationId::LINK).await?.0;
    assert_eq!(said.code, close::REFUSED);
    assert_eq!(said.reason, "the namespace bob is not among those of alice");
    // Two that name nothing are each in their own.
    let mut alice = link(&slave, "alice", ("default", &[]), Rights::Dispatch).await?;
    let mut bob = link(&slave, "bob", ("default", &[]), Rights::Dispatch).await?;
    assert!(alice.store(StoreOp::Put { key: key("k")? }, b"a").await?.hit);
    assert!(bob.store(StoreOp::PutIfAbsent { key: key("k")? }, b"b").await?.hit, "it is seen");
    assert_eq!((alice.keys().await?, bob.keys().await?), (vec!["k".into()], vec!["k".into()]));
    Ok(())
}
