//! The clock of a slave: a thread that ticks while guests run, and sleeps otherwise.
//!
//! At each tick it stops guests whose time is over, tells masters which of their attempts
//! have started, writes results that wait behind a long task, and sees to it that somebody
//! serves the network. A slot that starts a guest arms the timer unless it is armed: one
//! cheap system call in a thousand tasks, and no thread is woken. Invariant: while any
//! guest runs, the timer is armed: a slot enters its watch first and arms then, the pacer
//! takes note that the timer has fired first and looks at the watches then.

use crate::core::Core;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::time::{Duration, Instant};

/// Deadlines are kept within a tick or two; the network waits for a guest no longer.
pub(crate) const TICK: Duration = Duration::from_millis(1);

/// The timer of the pacer.
#[derive(Debug)]
pub(crate) struct Pacer {
    timer: OwnedFd,
    armed: AtomicBool,
}

impl Pacer {
    /// # Errors
    /// An I/O error if the system has no descriptors left.
    pub(crate) fn new() -> std::io::Result<Self> {
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC)?;
        Ok(Self { timer, armed: AtomicBool::new(false) })
    }

    /// Lets the pacer tick soon, unless it will.
    pub(crate) fn arm(&self) {
        // What the caller did before is seen by the tick that makes this unnecessary.
        fence(Ordering::SeqCst);
        if !self.armed.load(Ordering::Relaxed) && !self.armed.swap(true, Ordering::AcqRel) {
            let once = Itimerspec {
                it_interval: Timespec { tv_sec: 0, tv_nsec: 0 },
                it_value: Timespec { tv_sec: 0, tv_nsec: TICK.as_nanos() as _ },
            };
            if let Err(error) = timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &once) {
                tracing::error!(%error, "the pacer's timer cannot be set");
                self.armed.store(false, Ordering::Release);
            }
        }
    }

    /// The pacer's thread; ends when the slave does.
    pub(crate) fn run(&self, core: &Core) {
        let mut led = core.helm.led();
        loop {
            let mut count = [0u8; 8];
            match rustix::io::read(&self.timer, &mut count) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => {
                    tracing::error!(%error, "the pacer's timer cannot be read");
                    std::thread::sleep(TICK);
                }
            }
            self.armed.store(false, Ordering::SeqCst);
            fence(Ordering::SeqCst);
            if core.has_ended() {
                return;
            }
            if core.tick(Instant::now()) {
                self.arm();
                let now_led = core.helm.led();
                if now_led == led && !core.helm.is_led() {
                    core.helm.send_for_link_thread();
                }
                led = now_led;
            }
        }
    }
}
