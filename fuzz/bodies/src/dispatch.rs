//! The master's policy against events of any kind in any order.
//!
//! Owns: making events of bytes. Does not: judge; that is the policy's own check, and the
//! audit, which knows nothing of how the policy works.

use arbitrary::{Result, Unstructured};
use dpfw_dispatch::audit::Audit;
use dpfw_dispatch::{
    Config, Core, End, Event, KeyId, KindId, Loss, Placement, ReservationId, SlaveId, TaskId,
    TaskSpec, Time, Wait,
};
use dpfw_protocol::error::Cause;
use dpfw_protocol::ids::AttemptId;
use dpfw_protocol::message::TaskFlags;
use std::collections::HashSet;
use std::time::Duration;

/// More would make one input take long, and finds nothing else.
const MOST: usize = 400;

/// Events and the time between them, and a shutdown behind them: then all has resolved.
pub fn body(data: &[u8]) {
    let mut u = Unstructured::new(data);
    let (mut core, mut audit) = (Core::new(Config::default()), Audit::default());
    let (mut seen, mut now, mut out) = (HashSet::new(), Time::ZERO, Vec::new());
    let mut step = |event: Event, pause: u64| {
        if !is_fresh(&mut seen, &event) {
            return;
        }
        now += Duration::from_millis(pause);
        core.handle(now, event.clone(), &mut out);
        core.check_invariants();
        audit.follow(now, &event, &out);
        out.clear();
    };
    for _ in 0..MOST {
        if u.is_empty() {
            break;
        }
        let Ok((event, pause)) = timed(&mut u) else { break };
        step(event, pause);
    }
    step(Event::Shutdown, 0);
    audit.assert_all_resolved();
    assert_eq!(core.stats().unresolved, 0);
}

/// Whether the driver would send it: it never uses the id of a task or reservation again.
fn is_fresh(seen: &mut HashSet<(u8, u64)>, event: &Event) -> bool {
    match event {
        Event::Submit { task, .. } => seen.insert((0, task.0)),
        Event::Reserve { reservation, .. } => seen.insert((1, reservation.0)),
        _ => true,
    }
}

fn timed(u: &mut Unstructured<'_>) -> Result<(Event, u64)> {
    let pause = match u.arbitrary::<u8>()? {
        0..=190 => 0,
        other => u64::from(other - 190),
    };
    Ok((event(u)?, pause))
}

fn slave(u: &mut Unstructured<'_>) -> Result<SlaveId> {
    Ok(SlaveId(u.int_in_range(1..=5)?))
}

fn task(u: &mut Unstructured<'_>) -> Result<TaskId> {
    Ok(TaskId(u.int_in_range(0..=199)?))
}

fn attempts(u: &mut Unstructured<'_>) -> Result<Vec<AttemptId>> {
    let len = u.int_in_range(0..=5)?;
    (0..len).map(|_| Ok(AttemptId(u.int_in_range(0..=23)?))).collect()
}

fn reservation(u: &mut Unstructured<'_>) -> Result<ReservationId> {
    Ok(ReservationId(u.int_in_range(0..=11)?))
}

fn key(u: &mut Unstructured<'_>) -> Result<KeyId> {
    Ok(KeyId(u.int_in_range(0..=3)?))
}

fn keys(u: &mut Unstructured<'_>) -> Result<Vec<KeyId>> {
    let len = u.int_in_range(0..=3)?;
    (0..len).map(|_| key(u)).collect()
}

fn placement(u: &mut Unstructured<'_>) -> Result<Placement> {
    Ok(match u.int_in_range(0..=12)? {
        0..=5 => Placement::Anywhere,
        6 | 7 => Placement::On(slave(u)?),
        8 | 9 => Placement::Reserved(reservation(u)?),
        10 => Placement::Near(keys(u)?.into()),
        _ => Placement::At(keys(u)?.into()),
    })
}

fn spec(u: &mut Unstructured<'_>) -> Result<TaskSpec> {
    let deadline = match u.ratio(1, 5)? {
        true => Some(Time::from_nanos(u.int_in_range(0..=399u64)? * 1_000_000)),
        false => None,
    };
    let (once, free) = (TaskFlags::ONCE, TaskFlags::EFFECT_FREE);
    let flags = *u.choose(&[TaskFlags::default(), once, free, free, once.with(free)])?;
    Ok(TaskSpec {
        kind: KindId(u.int_in_range(0..=2)?),
        flags,
        deadline,
        placement: placement(u)?,
        calls: u.int_in_range(0..=19)?,
    })
}

fn end(u: &mut Unstructured<'_>) -> Result<End> {
    let cause = match u.int_in_range(0..=10)? {
        0..=4 => {
            let nanos =
                if u.ratio(1, 5)? { u.arbitrary()? } else { u.int_in_range(0..=20_000_000)? };
            return Ok(End::Done { run: Duration::from_nanos(nanos) });
        }
        5 | 6 => Cause::Busy { what: "sandboxes".into() },
        7 => Cause::Draining,
        8 => Cause::SlaveLost { may_have_run: true },
        9 => return Ok(End::KeyGone { key: key(u)? }),
        _ => Cause::Failed { message: "no".into() },
    };
    Ok(End::Failed { cause })
}

fn event(u: &mut Unstructured<'_>) -> Result<Event> {
    Ok(match u.arbitrary::<u8>()? {
        0..=59 => Event::Submit { task: task(u)?, spec: spec(u)? },
        60..=71 => Event::Cancel { task: task(u)? },
        72..=89 => {
            let (slave, slots) = (slave(u)?, u.int_in_range(0..=3)?);
            Event::SlaveJoined { slave, slots, attempts: u.int_in_range(0..=19)? }
        }
        90..=93 => {
            let (slave, slots) = (slave(u)?, u.int_in_range(0..=3)?);
            Event::SlaveStatus { slave, slots, taken: u.ratio(1, 5)?, running: attempts(u)? }
        }
        94..=98 => {
            let (slave, upto) = (slave(u)?, AttemptId(u.int_in_range(0..=29)?));
            Event::Holds { slave, upto, attempts: attempts(u)? }
        }
        99..=101 => Event::SlaveDraining { slave: slave(u)? },
        102..=108 => {
            let losses = [Loss::Died, Loss::Died, Loss::Unreachable, Loss::Left];
            Event::SlaveLost { slave: slave(u)?, loss: *u.choose(&losses)? }
        }
        109..=117 => Event::Started { slave: slave(u)?, attempts: attempts(u)? },
        118..=119 => Event::Waiting { slave: slave(u)?, attempts: attempts(u)? },
        120..=121 => Event::Loading { slave: slave(u)?, attempts: attempts(u)? },
        122 => Event::Queued { slave: slave(u)?, attempts: attempts(u)? },
        123..=190 => {
            let (slave, attempt) = (slave(u)?, AttemptId(u.int_in_range(0..=23)?));
            Event::Finished { slave, attempt, end: end(u)? }
        }
        191..=199 => Event::Returned { slave: slave(u)?, attempts: attempts(u)? },
        200..=202 => Event::KeyAt { slave: slave(u)?, key: key(u)? },
        203 | 204 => Event::KeyGone { slave: slave(u)?, key: key(u)? },
        205..=212 => {
            let slave = if u.ratio(1, 3)? { Some(slave(u)?) } else { None };
            let wait = if u.arbitrary()? { Wait::Yes } else { Wait::No };
            Event::Reserve { reservation: reservation(u)?, slave, wait }
        }
        213..=218 => Event::Release { reservation: reservation(u)? },
        219..=244 => {
            let (slave, reservation) = (slave(u)?, reservation(u)?);
            Event::ReserveAnswered { slave, reservation, granted: u.arbitrary()? }
        }
        245 => Event::NoMoreSlaves,
        246 => Event::SlavesExpected,
        247 | 248 => {
            let (slave, mut keys, held) = (slave(u)?, keys(u)?, self::keys(u)?);
            keys.sort_unstable();
            keys.dedup();
            Event::Located { slave, keys: keys.into(), held }
        }
        249 => {
            let (key, ms) = (key(u)?, u.int_in_range(0..=59)?);
            Event::KeyCost { key, cost: Duration::from_millis(ms) }
        }
        250 => Event::KeyForgotten { key: key(u)? },
        _ => Event::Tick,
    })
}
