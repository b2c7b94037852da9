use super::*;
use crate::crew::Crew;
use crate::driver::Registry;
use crate::home::Home;
use dpfw_link::{Link, Stream, identity};
use dpfw_protocol::hello::{Features, Hello, Identity, Namespace, PeerLimits, Role};
use dpfw_protocol::ids::SessionId;
use dpfw_protocol::limits::{MAX_TEXT, PROTOCOL};
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::runtime::Handle;

fn hello(role: Role) -> Hello {
    let Identity { peer, incarnation, serial } = identity("peer");
    Hello {
        protocol: PROTOCOL,
        role,
        peer,
        incarnation,
        serial,
        session: (role == Role::Master).then_some(SessionId(1)),
        features: Features::default(),
        namespace: Namespace::default(),
        limits: PeerLimits::default(),
        slots: u32::from(role == Role::Slave),
        agent: "test".into(),
    }
}

/// Both ends of a link, the master's first.
async fn both() -> (Link, Link) {
    let (ours, theirs) = Stream::pair(1 << 20);
    let (master, slave) = (hello(Role::Master), hello(Role::Slave));
    let both = tokio::join!(Link::establish(ours, &master), Link::establish(theirs, &slave));
    (both.0.expect("a link"), both.1.expect("a link"))
}

/// A link to a slave, as its reader has it.
fn linked(link: &Link, driver: &Arc<Driver>) -> Arc<Linked> {
    let (outbox, hello) = (link.outbox.clone(), link.theirs.clone());
    let (registry, crew) = (Registry::default(), Arc::new(Crew::new()));
    let home = Home::new(driver.clone(), &registry, crew, Handle::current(), Duration::ZERO);
    Arc::new(Linked::new(SlaveId(1), hello, "memory".into(), outbox, home))
}

/// What the driver has in its inbox, with how many bytes of texts.
fn heard(driver: &Driver) -> (Vec<Command>, usize) {
    let mut commands = Vec::new();
    let mut cx = Context::from_waker(Waker::noop());
    let _ = driver.poll_take(&mut cx, &mut commands);
    let text = |said: &FromSlave| match said {
        FromSlave::Log(_, log) => log.text.len(),
        _ => 0,
    };
    let of = |command: &Command| match command {
        Command::Said(_, said, _) => said.iter().map(text).sum(),
        _ => 0,
    };
    let bytes = commands.iter().map(of).sum();
    (commands, bytes)
}

#[tokio::test]
async fn a_link_whose_slave_says_more_than_the_driver_hears_is_not_read() {
    let (mut link, slave) = both().await;
    let driver = Arc::new(Driver::new(1));
    let linked = linked(&link, &driver);
    let log = Log { level: 3, target: String::new(), text: "x".repeat(MAX_TEXT) };
    let all = 3 * UNHEARD;
    for _ in 0..all / MAX_TEXT {
        slave.outbox.message(ConversationId(1), &log).expect("it fits");
    }
    let buffers = Recycler::default();
    let mut reading = pin!(read(linked, Arc::clone(&driver), buffers, &mut link.inbox));
    let mut go_on = async || {
        // Until no more is taken: the stream is in memory, nothing else has to happen.
        let (mut before, mut still) = (usize::MAX, 0);
        while still < 100 {
            slave.outbox.flush();
            let once = std::future::poll_fn(|cx| Poll::Ready(reading.as_mut().poll(cx)));
            assert!(tokio::task::unconstrained(once).await.is_pending(), "the link has ended");
            tokio::task::yield_now().await;
            let left = slave.outbox.control_bytes();
            still = if left == before { still + 1 } else { 0 };
            before = left;
        }
    };
    let mut sum = 0;
    for _ in 0..2 {
        go_on().await;
        let (commands, bytes) = heard(&driver);
        assert!(0 < bytes && bytes <= UNHEARD, "{bytes} bytes are not heard");
        assert!(slave.outbox.control_bytes() > 0, "the slave is held up");
        sum += bytes;
        drop(commands);
    }
    while sum < all {
        go_on().await;
        let (_, bytes) = heard(&driver);
        assert!(bytes > 0, "nothing came though there is room: {sum} of {all}");
        sum += bytes;
    }
    assert_eq!(sum, all);
}

#[tokio::test]
async fn a_slave_is_believed_no_more_slots_later_than_at_first() {
    let (mut link, slave) = both().await;
    let driver = Arc::new(Driver::new(1));
    let linked = linked(&link, &driver);
    let status = Status {
        slots: u32::MAX,
        running: 0,
        waiting: 0,
        sandboxes: 0,
        queued: 0,
        taken: false,
        upto: AttemptId(0),
        attempts: AttemptSet::default(),
        others: AttemptSet::default(),
    };
    slave.outbox.message(ConversationId::LINK, &status).expect("it fits");
    slave.outbox.flush();
    let buffers = Recycler::default();
    let mut reading = pin!(read(linked, Arc::clone(&driver), buffers, &mut link.inbox));
    let believed = loop {
        let once = std::future::poll_fn(|cx| Poll::Ready(reading.as_mut().poll(cx)));
        assert!(once.await.is_pending(), "the link has ended");
        let said = heard(&driver).0.into_iter().find_map(|command| match command {
            Command::Said(_, said, _) => said.into_iter().find_map(|said| match said {
                FromSlave::Status(standing) => Some(standing.slots),
                _ => None,
            }),
            _ => None,
        });
        match said {
            Some(slots) => break slots,
            None => tokio::task::yield_now().await,
        }
    };
    assert_eq!(believed, MAX_SLOTS);
}
