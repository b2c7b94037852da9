//! Compiling, away from the loader: few modules at once, each with threads and a time of its
//! own.
//!
//! Owns: which modules are being made, on whose behalf, and until when. Does not: decide what
//! becomes of one; [`Modules`](super::load::Modules) does. Cranelift cannot be interrupted, but
//! says when it begins a pass over a function: there a module whose time is over ends. What
//! one pass takes is bounded by the limit on a function's size. Invariants: no principal has more
//! than its share of what is compiled at once; a module that ends late is refused in time.

use cranelift_codegen::timing::{Pass, Profiler, set_thread_profiler};
use std::any::Any;
use std::fmt;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Modules that are compiled at once. Each has as many threads as there are cores, so more
/// would not be done sooner; fewer would let one that is slow hold up the others.
pub(super) const AT_ONCE: usize = 4;

/// What a principal may have of these.
pub(super) const SHARE: usize = AT_ONCE / 2;

/// Bytes of a module that are worth a thread of its own.
const WORTH_A_THREAD: usize = 64 << 10;

/// Compilers give way to slots: a quarter of a core that both want.
const NICE: i32 = 5;

/// When a module has to be done.
pub(crate) struct Clock {
    until: Mutex<Until>,
    stopped: AtomicBool,
    /// What is to be done to what cannot look here: an init that runs, a line that is waited in.
    on_stop: Mutex<Option<Box<dyn Fn() + Send>>>,
}

/// The end of a clock's time.
#[derive(Clone, Copy, Debug)]
struct Until {
    at: Instant,
    /// Since when it stands, if it does.
    paused: Option<Instant>,
}

/// A clock stands until this is dropped.
pub(super) struct Paused<'a>(&'a Clock);

impl Drop for Paused<'_> {
    fn drop(&mut self) {
        let mut until = self.0.until();
        if let Some(since) = until.paused.take() {
            let stood = since.elapsed();
            until.at = until.at.checked_add(stood).unwrap_or(until.at);
        }
    }
}

/// Ends a thread's compiling; the unwinding's payload.
struct Expired;

impl Clock {
    pub(super) fn new(time: Duration) -> Self {
        let now = Instant::now();
        // A limit that no clock can show is none.
        let until = now.checked_add(time).unwrap_or(now + Duration::from_secs(1 << 32));
        let until = Mutex::new(Until { at: until, paused: None });
        Self { until, stopped: AtomicBool::new(false), on_stop: Mutex::default() }
    }

    fn until(&self) -> MutexGuard<'_, Until> {
        self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What passes until the guard is dropped is not counted.
    pub(super) fn pause(&self) -> Paused<'_> {
        self.until().paused.get_or_insert_with(Instant::now);
        Paused(self)
    }

    /// It is not needed any more.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
        if let Some(on_stop) = &*self.on_stop.lock().unwrap_or_else(PoisonError::into_inner) {
            on_stop();
        }
    }

    /// What is to be done when it is stopped, in place of what was to be done before; at once
    /// if it is stopped already.
    pub(super) fn on_stop(&self, on_stop: impl Fn() + Send + 'static) {
        let mut current = self.on_stop.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_stopped() {
            on_stop();
        }
        *current = Some(Box::new(on_stop));
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// What is left of the time.
    pub(super) fn left(&self) -> Duration {
        let Until { at, paused } = *self.until();
        at.saturating_duration_since(paused.unwrap_or_else(Instant::now))
    }

    fn is_over(&self) -> bool {
        self.is_stopped() || self.left().is_zero()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { until, stopped, on_stop: _ } = self;
        f.debug_struct("Clock").field("until", until).field("stopped", stopped).finish()
    }
}

/// Whether a module's making was ended by its clock.
pub(crate) fn has_expired(panic: &(dyn Any + Send)) -> bool {
    panic.is::<Expired>()
}

/// Is told of every pass that Cranelift begins on a thread.
struct Interrupter(Arc<Clock>);

impl Profiler for Interrupter {
    fn start_pass(&self, _: Pass) -> Box<dyn Any> {
        if self.0.is_over() {
            // Not a panic: nothing is wrong, and nobody is to be told.
            resume_unwind(Box::new(Expired));
        }
        Box::new(())
    }
}

/// How many threads are worth it for so many bytes of wasm.
pub(super) fn threads_for(wasm: usize) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    cores.min(1 + wasm / WORTH_A_THREAD)
}

/// The threads of one module's compiler. They end when it is dropped and has nothing to do.
pub(super) fn threads(
    clock: &Arc<Clock>,
    wasm: usize,
    stack: usize,
) -> Result<rayon::ThreadPool, rayon::ThreadPoolBuildError> {
    let clock = Arc::clone(clock);
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads_for(wasm))
        .thread_name(|_| "dpfw-compiler".into())
        .stack_size(stack)
        .start_handler(move |_| {
            set_thread_profiler(Box::new(Interrupter(Arc::clone(&clock))));
            // On Linux this is the thread's own. Without it slots are slower meanwhile.
            let _ = rustix::process::setpriority_process(None, NICE);
        })
        .build()
}

/// Which of those that wait is begun next, given whose are being made: the first whose
/// principal has less than its share.
pub(super) fn next<T: PartialEq>(
    waiting: impl IntoIterator<Item = T>,
    running: &[T],
) -> Option<usize> {
    if running.len() >= AT_ONCE {
        return None;
    }
    let has_room = |whose: T| running.iter().filter(|other| **other == whose).count() < SHARE;
    waiting.into_iter().position(has_room)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use wasmtime::Engine;

    #[test]
    fn f36_no_principal_has_more_than_its_share_of_the_compilers() {
        assert_eq!(next(["a"], &[]), Some(0));
        assert_eq!(next(["a", "b"], &["a"]), Some(0));
        assert_eq!(next(["a", "a", "b"], &["a", "a"]), Some(2));
        assert_eq!(next(["a"], &["a", "a"]), None);
        assert_eq!(next(["e"], &["a", "a", "b", "c"]), None);
    }

    /// What becomes of a module of many functions under this clock.
    fn compile(clock: Clock) -> Result<bool, Box<dyn Any + Send>> {
        let text = format!("(module {})", "(func (result i32) (i32.const 1))".repeat(100));
        let wasm = wat::parse_str(text).expect("well formed");
        let pool = threads(&Arc::new(clock), 1 << 20, 4 << 20).expect("threads");
        let compile = || Engine::default().precompile_module(&wasm).is_ok();
        catch_unwind(AssertUnwindSafe(|| pool.install(compile)))
    }

    #[test]
    fn f36_compiling_ends_at_a_pass_when_its_time_is_over() {
        assert!(matches!(compile(Clock::new(Duration::from_secs(3600))), Ok(true)));
        assert!(matches!(compile(Clock::new(Duration::MAX)), Ok(true)));
        let panic = compile(Clock::new(Duration::ZERO)).expect_err("no time");
        assert!(has_expired(&*panic));
        let stopped = Clock::new(Duration::MAX);
        stopped.stop();
        assert!(has_expired(&*compile(stopped).expect_err("stopped")));
    }
}
