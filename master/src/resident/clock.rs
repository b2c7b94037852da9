//! When calls of residents are over that their slaves have not answered.
//!
//! Owns: the deadlines of calls under way, of the whole master. Does not: know what becomes of
//! a call whose time is over. Invariant: a call that has ended is not in it. Bounded by the
//! calls that there are.

use super::call::Asking;
use crate::home::Home;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;
use tokio::sync::Notify;

/// See the module's page.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    alarms: Mutex<Alarms>,
    /// Notified when the first deadline is another one.
    sooner: Notify,
}

#[derive(Debug, Default)]
struct Alarms {
    calls: BTreeMap<Alarm, Weak<Asking>>,
    set: u64,
    /// Whether somebody waits for the first of them.
    runs: bool,
}

/// A deadline, and a number that is its own.
pub(crate) type Alarm = (Instant, u64);

impl Clock {
    fn lock(&self) -> MutexGuard<'_, Alarms> {
        self.alarms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A call is to be over at a time.
    pub(crate) fn set(&self, home: &Arc<Home>, at: Instant, call: &Arc<Asking>) {
        let mut alarms = self.lock();
        alarms.set += 1;
        let alarm = (at, alarms.set);
        if !call.has_alarm(alarm) {
            return;
        }
        alarms.calls.insert(alarm, Arc::downgrade(call));
        let is_first = alarms.calls.first_key_value().is_some_and(|(first, _)| *first == alarm);
        let runs = std::mem::replace(&mut alarms.runs, true);
        drop(alarms);
        if !runs {
            home.spawn(run(Arc::clone(home)));
        } else if is_first {
            self.sooner.notify_one();
        }
    }

    /// A call has ended.
    pub(crate) fn unset(&self, alarm: &Alarm) {
        self.lock().calls.remove(alarm);
    }

    /// The calls whose time is over, and when the next one's is.
    fn due(&self, now: Instant) -> (Vec<Arc<Asking>>, Option<Instant>) {
        let mut alarms = self.lock();
        let mut due = Vec::new();
        while let Some(first) = alarms.calls.first_entry() {
            if first.key().0 > now {
                let next = first.key().0;
                return (due, Some(next));
            }
            due.extend(first.remove().upgrade());
        }
        (due, None)
    }
}

async fn run(home: Arc<Home>) {
    loop {
        let sooner = home.clock.sooner.notified();
        let (due, next) = home.clock.due(Instant::now());
        due.iter().for_each(|call| call.expire());
        drop(due);
        match next {
            // Who comes first then starts at once.
            None => sooner.await,
            Some(next) => tokio::select! {
                () = sooner => {}
                () = tokio::time::sleep_until(next.into()) => {}
            },
        }
    }
}
