//! Two peers shake hands, or are told why not.

#[path = "kit/hello.rs"]
mod kit;

use dpfw_link::{Link, LinkError, Stream};
use dpfw_protocol::hello::{HelloError, PREFACE, Range, Role};
use dpfw_protocol::ids::ConversationId;
use dpfw_protocol::limits::PROTOCOL;
use dpfw_protocol::message::{self, Close, Progress, kind};
use kit::hello;
use std::error::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

type Outcome = Result<(), Box<dyn Error>>;

#[tokio::test]
async fn a_master_and_a_slave_link_and_talk() -> Outcome {
    let (a, b) = Stream::pair(1 << 16);
    let (master, slave) = (hello(Role::Master, PROTOCOL)?, hello(Role::Slave, PROTOCOL)?);
    let (master, slave) =
        tokio::try_join!(Link::establish(a, &master), Link::establish(b, &slave))?;
    assert_eq!(master.theirs.peer.as_str(), "slave");
    let sent = Progress { done: 1, total: 2 };
    slave.outbox.message(ConversationId(7), &sent)?;
    slave.outbox.flush();
    let mut inbox = master.inbox;
    loop {
        if let Some(frame) = inbox.next_frame()? {
            assert_eq!(frame.header.conversation, ConversationId(7));
            assert_eq!(message::decode::<Progress>(&frame)?.0, sent);
            return Ok(());
        }
        inbox.fill().await?;
    }
}

#[tokio::test]
async fn without_a_common_version_both_are_told_which_ones_are_spoken() -> Outcome {
    let (a, b) = Stream::pair(1 << 16);
    let ours = hello(Role::Master, Range { min: 1, max: 1 })?;
    let theirs = hello(Role::Slave, Range { min: 5, max: 6 })?;
    let (a, b) = tokio::join!(Link::establish(a, &ours), Link::establish(b, &theirs));
    for (end, spoken) in [(a, "5 to 6"), (b, "1")] {
        let error = end.err().ok_or("they linked")?;
        assert!(matches!(error, LinkError::Hello(HelloError::Version { .. })), "{error}");
        assert!(error.to_string().contains(&format!("speaks protocol {spoken}")), "{error}");
    }
    Ok(())
}

#[tokio::test]
async fn what_is_not_dpfw_is_closed_with_a_reason() -> Outcome {
    let (a, mut b) = tokio::io::duplex(1 << 16);
    let ours = hello(Role::Slave, PROTOCOL)?;
    b.write_all(b"GET / HTTP/1.1\r\n\r\n").await?;
    let error = Link::establish(Stream::joined(a, "b"), &ours).await.err().ok_or("linked")?;
    assert!(matches!(error, LinkError::Hello(HelloError::NotDpfw)), "{error}");
    let mut said = Vec::new();
    b.read_to_end(&mut said).await?;
    assert!(said.starts_with(&PREFACE));
    let text = String::from_utf8_lossy(&said);
    assert!(text.contains("the peer does not speak dpfw"), "{text}");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_slow_handshake_is_given_up() -> Outcome {
    let (a, mut b) = tokio::io::duplex(1 << 16);
    b.write_all(&PREFACE[..3]).await?;
    let ours = hello(Role::Slave, PROTOCOL)?;
    let error = Link::establish(Stream::joined(a, "b"), &ours).await.err().ok_or("linked")?;
    assert!(matches!(error, LinkError::SlowHandshake(_)), "{error}");
    Ok(())
}

#[tokio::test]
async fn a_refusal_is_heard_in_the_refusers_words() -> Outcome {
    let (a, mut b) = tokio::io::duplex(1 << 16);
    let mut bytes = PREFACE.to_vec();
    let close = Close { code: message::close::REFUSED, reason: "not today".into() };
    message::encode(&mut bytes, ConversationId::LINK, &close, &[], true)?;
    b.write_all(&bytes).await?;
    let ours = hello(Role::Master, PROTOCOL)?;
    let error = Link::establish(Stream::joined(a, "b"), &ours).await.err().ok_or("linked")?;
    assert_eq!(error.to_string(), "the peer closed the link: not today");
    assert_eq!(kind::HELLO, 1);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn f06_a_frame_that_is_never_whole_is_given_up() -> Outcome {
    let (a, mut b) = tokio::io::duplex(1 << 16);
    let (ours, theirs) = (hello(Role::Master, PROTOCOL)?, hello(Role::Slave, PROTOCOL)?);
    b.write_all(&theirs.to_bytes()?).await?;
    let mut link = Link::establish(Stream::joined(a, "b"), &ours).await?;
    // Whole frames, then one whose length was changed on the way: heartbeats fill it.
    let mut beat = Vec::new();
    message::encode(&mut beat, ConversationId::LINK, &message::Heartbeat {}, &[], true)?;
    for second in 0..200 {
        let mut bytes = beat.clone();
        if second == 100 {
            bytes[2] = 1;
        }
        b.write_all(&bytes).await?;
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        let filled = link.inbox.fill().await;
        while filled.is_ok() && link.inbox.next_frame()?.is_some() {}
        if let Err(error) = filled {
            assert!(error.to_string().contains("a frame took longer than 60s"), "{error}");
            assert!((160..163).contains(&second), "after {second} s");
            return Ok(());
        }
    }
    Err("it is waited for".into())
}

#[tokio::test(start_paused = true)]
async fn a_silent_peer_is_lost_and_a_talking_one_is_not() -> Outcome {
    let (a, mut b) = tokio::io::duplex(1 << 16);
    let (ours, theirs) = (hello(Role::Master, PROTOCOL)?, hello(Role::Slave, PROTOCOL)?);
    b.write_all(&theirs.to_bytes()?).await?;
    let mut link = Link::establish(Stream::joined(a, "b"), &ours).await?;
    let start = tokio::time::Instant::now();
    tokio::time::sleep(std::time::Duration::from_secs(4)).await;
    b.write_all(&[0]).await?;
    link.inbox.fill().await?;
    let error = link.inbox.fill().await.err().ok_or("it is silent")?;
    assert!(matches!(error, LinkError::Silent(_)), "{error}");
    assert!(start.elapsed().as_secs() >= 9, "{:?}", start.elapsed());
    Ok(())
}
