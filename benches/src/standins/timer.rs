//! A timer finer than tokio's, which rounds up to the next millisecond: tasks are as short as
//! a tenth of one.

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};
use tokio::io::unix::AsyncFd;

/// A timer of the system. It has no descriptor before it is first needed.
#[derive(Debug, Default)]
pub(super) struct Timer {
    timer: Option<AsyncFd<OwnedFd>>,
    /// What it is set to.
    at: Option<Instant>,
}

impl Timer {
    /// Waits until then; without an instant for ever. Cancel safe.
    pub(super) async fn until(&mut self, at: Option<Instant>) -> io::Result<()> {
        let Some(at) = at else { return std::future::pending().await };
        let left = at.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        let timer = match &mut self.timer {
            Some(timer) => timer,
            none => none.insert(create()?),
        };
        if self.at != Some(at) {
            set(timer.get_ref(), left)?;
            self.at = Some(at);
        }
        loop {
            let mut ready = timer.readable().await?;
            let mut count = [0u8; 8];
            let read =
                |timer: &AsyncFd<OwnedFd>| Ok(rustix::io::read(timer.get_ref(), &mut count)?);
            // What was ready may have been an expiry before it was set anew.
            if let Ok(read) = ready.try_io(read) {
                self.at = None;
                return read.map(drop);
            }
        }
    }
}

#[expect(deprecated, reason = "its successor is unsafe, for what has another descriptor each time")]
fn create() -> io::Result<AsyncFd<OwnedFd>> {
    let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
    AsyncFd::new(timerfd_create(TimerfdClockId::Monotonic, flags)?)
}

/// Lets it expire once.
fn set(timer: &OwnedFd, after: Duration) -> io::Result<()> {
    let once = Itimerspec {
        it_interval: Timespec { tv_sec: 0, tv_nsec: 0 },
        it_value: Timespec { tv_sec: after.as_secs() as _, tv_nsec: after.subsec_nanos() as _ },
    };
    timerfd_settime(timer, TimerfdTimerFlags::empty(), &once)?;
    Ok(())
}
