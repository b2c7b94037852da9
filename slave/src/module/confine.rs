//! Where modules are compiled: in this process, or each in one of its own.
//!
//! Owns: when compiling is confined, and which program does it. Does not: compile ([`make`] says
//! what that is, in whichever process), or start processes (`process`). Invariant: where compiling
//! is confined, no compiler ever runs in the slave's process, whatever is missing.

mod bounds;
pub(crate) mod child;
pub(super) mod make;
mod message;
mod process;

use super::compile::Clock;
use crate::engine::Engines;
use crate::limits::Limits;
use dpfw_protocol::error::Cause;
use make::{Compiled, Make};
use message::Order;
use process::Process;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// When modules are compiled in processes of their own.
///
/// Such a process has limits on memory, processor time and wall time, no environment, and may
/// write no file. A module that makes the compiler panic, or take more than it may have, takes that
/// process with it and is refused; the slave goes on. It costs some milliseconds for each module
/// that is not in the cache. What a guest does when it runs is not concerned: that is confined by
/// its sandbox, always.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use dpfw_slave::{Confine, Slave};
///
/// // First in `main`: this program is what compiles.
/// dpfw_slave::compile_child();
/// let slave = Slave::builder().slots(1).confine_compiling(Confine::Always).build()?;
/// # drop(slave);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Confine {
    /// Never: whoever sends modules is trusted not to attack the compiler.
    Never,
    /// From when the slave first listens or dials beyond loopback, or is given a stream that leads
    /// out of this process.
    #[default]
    BeyondLoopback,
    /// Always.
    Always,
}

/// When compiling is confined, and how.
#[derive(Debug)]
pub(crate) struct Confinement {
    when: Confine,
    /// What is started to compile, if there is something.
    program: Option<PathBuf>,
    /// What the slave's code is compiled for; a process that compiles for another is refused.
    configuration: u64,
    beyond_loopback: AtomicBool,
}

/// Where something is compiled.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place<'a> {
    /// In this process.
    Here,
    /// In one of its own, which ends when the clock does.
    Confined { program: &'a Path, configuration: u64, clock: &'a Clock },
}

impl Confinement {
    pub(crate) fn new(when: Confine, program: Option<PathBuf>, configuration: u64) -> Self {
        Self { when, program, configuration, beyond_loopback: AtomicBool::new(false) }
    }

    /// Whether it can be what it is to be.
    pub(crate) fn is_possible(&self) -> bool {
        self.when != Confine::Always || self.program.is_some()
    }

    /// The slave can be reached from beyond this machine, or reaches beyond it, from now on.
    pub(crate) fn set_beyond_loopback(&self) {
        let was = self.beyond_loopback.swap(true, Ordering::AcqRel);
        if !was && self.is_due() && self.program.is_none() {
            tracing::error!("{NO_PROGRAM}");
        }
    }

    /// Whether what comes now is compiled in a process of its own.
    pub(super) fn is_due(&self) -> bool {
        match self.when {
            Confine::Never => false,
            Confine::Always => true,
            Confine::BeyondLoopback => self.beyond_loopback.load(Ordering::Acquire),
        }
    }

    /// Where the next module is compiled.
    ///
    /// # Errors
    /// [`Cause::Busy`] if that is to be confined, and there is no program for it: another slave
    /// may have one.
    pub(super) fn place<'a>(&'a self, clock: &'a Clock) -> Result<Place<'a>, Cause> {
        match (self.is_due(), &self.program) {
            (false, _) => Ok(Place::Here),
            (true, Some(program)) => {
                Ok(Place::Confined { program, configuration: self.configuration, clock })
            }
            (true, None) => Err(Cause::Busy { what: NO_PROGRAM.into() }),
        }
    }
}

/// Why nothing is compiled, and what to do.
pub(crate) const NO_PROGRAM: &str = "modules are to be compiled in processes of their own, and \
     there is no program for it: call compile_child() first in main, name a program that does \
     (Builder::compiler), or allow it in this process (Confine::Never)";

impl Place<'_> {
    pub(super) fn is_confined(&self) -> bool {
        matches!(self, Self::Confined { .. })
    }

    /// Compiles something.
    ///
    /// # Errors
    /// The [`Cause`] with which it is refused.
    pub(super) fn make(
        &self,
        make: Make,
        engines: &Engines,
        limits: &Limits,
        wasm: &[u8],
    ) -> Result<Compiled, Cause> {
        match *self {
            Self::Here => make.here(engines, limits, wasm, |_| ()),
            Self::Confined { program, configuration, clock } => {
                let order = Order { configuration, limits: *limits, make };
                Process::start(program, &order, wasm.len(), clock)?.make(wasm)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn is_confined(confinement: &Confinement) -> Option<bool> {
        let clock = Clock::new(Duration::MAX);
        confinement.place(&clock).ok().map(|place| matches!(place, Place::Confined { .. }))
    }

    #[test]
    fn compiling_is_confined_from_when_the_slave_reaches_beyond_loopback() {
        let of = |when| Confinement::new(when, Some("/bin/true".into()), 0);
        for (when, before, after) in [
            (Confine::Never, false, false),
            (Confine::default(), false, true),
            (Confine::Always, true, true),
        ] {
            let confinement = of(when);
            assert_eq!(is_confined(&confinement), Some(before), "{when:?}");
            confinement.set_beyond_loopback();
            assert_eq!(is_confined(&confinement), Some(after), "{when:?}");
        }
    }

    #[test]
    fn without_a_program_nothing_is_compiled_that_is_to_be_confined() {
        let confinement = Confinement::new(Confine::default(), None, 0);
        assert_eq!(is_confined(&confinement), Some(false));
        confinement.set_beyond_loopback();
        assert_eq!(is_confined(&confinement), None);
        assert!(!Confinement::new(Confine::Always, None, 0).is_possible());
    }
}
