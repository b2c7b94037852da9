//! Who drives the network.
//!
//! The links of a slave live on one tokio runtime that has no thread of its own: whoever
//! *leads* drives it. An idle slot leads, and runs at once what it has just read: no
//! thread has to be woken, which on a virtual machine would cost more than the task. A
//! slot that runs a guest does not lead; if nobody has led for a tick, the link thread
//! does, until an idle slot wants to. So a guest never holds up the network for longer
//! than a tick of the pacer. Invariant: one leads at a time.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, RwLock, TryLockError};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::Notify;

/// The runtime of a slave's links, and the right to drive it.
pub(crate) struct Helm {
    /// Taken when the slave ends.
    runtime: RwLock<Option<Runtime>>,
    handle: Handle,
    lead: Mutex<()>,
    /// Counts the times that somebody led: that it grows means that the network is served.
    led: AtomicU64,
    /// A slot waits for the lead.
    wanted: AtomicBool,
    /// The slave ends, and the link thread with it.
    stopped: AtomicBool,
    give_way: Notify,
    calls: Mutex<Call>,
    called: Condvar,
}

/// What the link thread is asked to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Call {
    #[default]
    None,
    Lead,
    Stop,
}

/// The right to drive the links.
pub(crate) struct Lead<'a> {
    helm: &'a Helm,
    _lead: MutexGuard<'a, ()>,
}

impl Helm {
    /// A runtime without threads.
    ///
    /// # Errors
    /// An I/O error if the system has no descriptors left.
    pub(crate) fn new() -> std::io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        Ok(Self {
            handle: runtime.handle().clone(),
            runtime: RwLock::new(Some(runtime)),
            lead: Mutex::new(()),
            led: AtomicU64::new(0),
            wanted: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            give_way: Notify::new(),
            calls: Mutex::default(),
            called: Condvar::new(),
        })
    }

    /// To spawn what runs on the links' runtime.
    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Takes the lead if nobody has it.
    pub(crate) fn try_lead(&self) -> Option<Lead<'_>> {
        let lead = match self.lead.try_lock() {
            Ok(lead) => lead,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        Some(self.take(lead))
    }

    /// Takes the lead from the link thread, if that has it.
    pub(crate) fn ask_way(&self) {
        self.wanted.store(true, Ordering::Release);
        self.give_way.notify_one();
    }

    fn take<'a>(&'a self, lead: MutexGuard<'a, ()>) -> Lead<'a> {
        self.led.fetch_add(1, Ordering::Relaxed);
        self.wanted.store(false, Ordering::Release);
        Lead { helm: self, _lead: lead }
    }

    /// How often somebody has led.
    pub(crate) fn led(&self) -> u64 {
        self.led.load(Ordering::Relaxed)
    }

    /// Whether somebody leads now.
    pub(crate) fn is_led(&self) -> bool {
        matches!(self.lead.try_lock(), Err(TryLockError::WouldBlock))
    }

    fn call(&self, call: Call) {
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        if *calls != Call::Stop {
            *calls = call;
        }
        drop(calls);
        self.called.notify_one();
    }

    /// Lets the link thread lead, until a slot wants to.
    pub(crate) fn send_for_link_thread(&self) {
        self.call(Call::Lead);
    }

    /// Lets the link thread end.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        self.call(Call::Stop);
        self.ask_way();
    }

    /// Drops all that runs on the links' runtime, and with it what that holds: ports,
    /// streams, the slave's core. For when the threads that lead have ended.
    pub(crate) fn shut(&self) {
        let runtime = self.runtime.write().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(runtime) = runtime {
            // It may happen on a thread of another runtime, which must not block.
            runtime.shutdown_background();
        }
    }

    /// The link thread: leads when it is sent for.
    pub(crate) fn run_link_thread(&self, after: impl Fn()) {
        loop {
            let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
            while *calls == Call::None {
                calls = self.called.wait(calls).unwrap_or_else(PoisonError::into_inner);
            }
            if *calls == Call::Stop {
                return;
            }
            *calls = Call::None;
            drop(calls);
            if let Some(lead) = self.try_lead() {
                lead.until(async {
                    let ends = || self.stopped.load(Ordering::Acquire);
                    while !self.wanted.load(Ordering::Acquire) && !ends() {
                        self.give_way.notified().await;
                    }
                });
                drop(lead);
                after();
            }
        }
    }
}

impl Lead<'_> {
    /// Drives the links until the future completes.
    pub(crate) fn until<T>(&self, future: impl Future<Output = T>) -> T {
        let runtime = self.helm.runtime.read().unwrap_or_else(PoisonError::into_inner);
        // It is taken when every thread that leads has ended.
        runtime.as_ref().unwrap_or_else(|| unreachable!("the slave has ended")).block_on(future)
    }

    /// Serves the links without waiting.
    pub(crate) fn turn(&self) {
        self.until(async {
            // The first looks for events, the second lets those run that they woke.
            tokio::task::yield_now().await;
            tokio::task::yield_now().await;
        });
    }
}

impl Drop for Helm {
    fn drop(&mut self) {
        self.shut();
    }
}

impl std::fmt::Debug for Helm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Helm")
    }
}
