//! What a master may have of a slave by what it says, however little it sends for it.

use super::kit::{Outcome, Peer, key, link, slave};
use crate::limits::MOST_DECLARED;
use crate::standing::Rights;
use dpfw_protocol::ids::{BindId, ConversationId, MethodId, ModuleHash};
use dpfw_protocol::message::{
    Bind, BindMethod, Cancel, Close, Dispatch, Extras, Failed, NeedModule, StoreReply,
    StoreRequest, TaskFlags, close,
};
use dpfw_protocol::signature::{Field, Signature, TaskRecord};
use dpfw_protocol::store::{StoreOp, Terms};

/// What a caller believes of a task that has so many arguments without a name.
fn believed(count: usize) -> Signature {
    let field = Field { name: String::new(), ty: String::new() };
    let task = TaskRecord { name: "t".into(), args: vec![field; count], ..TaskRecord::default() };
    Signature { task, types: Vec::new() }
}

/// A dispatch of the session's first task.
fn dispatch(extras: Option<Box<Extras>>) -> Dispatch {
    let flags = TaskFlags::default();
    Dispatch { bind: BindId(0), flags, budget_us: None, payload: 0, extras }
}

/// Declares a task or a method, in turn; whether the link still stands.
async fn declares(peer: &mut Peer, number: u32, expects: &Signature) -> Outcome<bool> {
    let (module, expects) = (ModuleHash::of(b"module"), Some(expects.clone()));
    let said = match number % 2 {
        0 => {
            let bind = BindId(number / 2);
            peer.say(&Bind { bind, module, task: "t".into(), expects })
        }
        _ => {
            let method = MethodId(number / 2);
            peer.say(&BindMethod { method, module, name: "R.m".into(), expects })
        }
    };
    said?;
    Ok(peer.link.outbox.flushed().await.is_ok())
}

#[tokio::test]
async fn what_a_master_declares_is_counted_and_no_more_than_its_share() -> Outcome {
    let slave = slave()?;
    let mut greedy = link(&slave, "greedy", ("greedy", &[]), Rights::Dispatch).await?;
    let mut modest = link(&slave, "modest", ("modest", &[]), Rights::Dispatch).await?;
    let expects = believed(4000);
    let each = u32::try_from(MOST_DECLARED / expects.bytes() as u64)?;
    for number in 0..each * 3 / 4 {
        assert!(declares(&mut greedy, number, &expects).await?, "{number} of {each}");
    }
    // Whoever comes beside it has room.
    assert!(declares(&mut modest, 0, &expects).await?);
    modest.link.outbox.message(ConversationId(1), &dispatch(None))?;
    modest.link.outbox.flush();
    let (needed, _) = modest.hear::<NeedModule>(ConversationId::LINK).await?;
    assert_eq!(needed.module, ModuleHash::of(b"module"));
    let mut number = each * 3 / 4;
    while declares(&mut greedy, number, &expects).await? {
        number += 1;
        assert!(number < 2 * each, "all was taken");
    }
    let said = greedy.hear::<Close>(ConversationId::LINK).await?.0;
    assert_eq!(said.code, close::PROTOCOL);
    assert!(said.reason.contains("bytes of declared tasks"), "{said:?}");
    // What it had is given back.
    while slave.core.declared.used() > 2 * expects.bytes() as u64 {
        tokio::task::yield_now().await;
    }
    Ok(())
}

#[tokio::test]
async fn keys_that_an_attempt_names_are_counted_like_its_arguments() -> Outcome {
    let slave = slave()?;
    let mut master = link(&slave, "master", ("master", &[]), Rights::Dispatch).await?;
    let module = ModuleHash::of(b"module");
    master.say(&Bind { bind: BindId(0), module, task: "t".into(), expects: None })?;
    let needs = vec![key(&"k".repeat(1000))?; 16];
    let extras = Extras { needs, ..Extras::default() };
    master.link.outbox.message(ConversationId(1), &dispatch(Some(Box::new(extras))))?;
    master.link.outbox.flush();
    master.hear::<NeedModule>(ConversationId::LINK).await?;
    assert!((16_000..20_000).contains(&slave.core.held.used()), "{}", slave.core.held.used());
    master.link.outbox.message(ConversationId(1), &Cancel {})?;
    master.link.outbox.flush();
    master.hear::<Failed>(ConversationId(1)).await?;
    Ok(())
}

#[tokio::test]
async fn who_asks_and_does_not_read_is_not_read_either() -> Outcome {
    let slave = slave()?;
    let mut master = link(&slave, "master", ("master", &[]), Rights::Dispatch).await?;
    for number in 0..50 {
        let key = key(&format!("{number:0>1000}"))?;
        assert!(master.store(StoreOp::Put { key }, b"v").await?.hit);
    }
    // A listing takes 50 KB, and asking for it a hundredth of that.
    let list = StoreOp::List { prefix: String::new(), after: None, limit: 50 };
    let request = StoreRequest { op: list, terms: Terms::default(), payload: 0 };
    let mut asked = Vec::new();
    for _ in 0..1000 {
        asked.push(master.say(&request)?);
    }
    let sessions = slave.core.linked();
    let unread = || sessions.iter().map(|session| session.outbox.control_bytes()).max();
    while unread() < Some(1 << 20) {
        tokio::task::yield_now().await;
    }
    for conversation in asked {
        assert_eq!(master.hear::<StoreReply>(conversation).await?.0.entries.len(), 50);
        assert!(unread() < Some(5 << 18), "{:?} bytes are unread", unread());
    }
    Ok(())
}
