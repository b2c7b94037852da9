//! What a process that compiles may use of the system.
//!
//! Invariant: every bound follows from the slave's limits and the length of what is compiled, both
//! of which are known before the process reads a byte.

use super::make::Make;
use crate::limits::Limits;
use crate::module::compile;
use crate::module::load::compiler_stack;
use rustix::process::{Resource, Rlimit, setrlimit};
use std::ffi::OsString;
use std::io;

/// What such a process may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    /// Bytes that it can write to: its heap, its stacks, the memory of a guest that is warmed.
    /// This is what counts; what is reserved and cannot be written to costs nothing.
    data: u64,
    /// Bytes of addresses.
    addresses: u64,
    /// Of processor time, of all its threads together.
    seconds: u64,
}

/// What the program itself has in memory before it does anything.
const OWN: u64 = 32 << 20;

/// How often what is compiled is in memory at once: what was read, what it is copied into for
/// the compiler, its data in the code, and the code as it is told.
const COPIES: u64 = 4;

/// How often a guest's memory is there while it is taken as a snapshot: itself, and what
/// `snapshot` makes of it.
const SNAPSHOTS: u64 = 4;

/// Addresses beyond the data: the 4 GiB that are reserved for a guest's memory with its guards of
/// 2 GiB on both sides, and the program's own code, of some hundred MiB.
const RESERVED: u64 = 12 << 30;

/// Addresses that the allocator reserves for each thread, of which it gives what data there may be.
const ARENA: u64 = 128 << 20;

/// Descriptors: standard input, output and error, and some that are open for a moment.
const DESCRIPTORS: u64 = 32;

/// Until the system kills what does not end when its processor time is over.
const GRACE: u64 = 5;

impl Bounds {
    /// For wasm of so many bytes.
    pub(super) fn of(limits: &Limits, make: Make, wasm: usize) -> Self {
        let guest = match make {
            Make::Module(first) if first.is_any() => limits.memory.saturating_mul(SNAPSHOTS),
            Make::Module(_) | Make::Init | Make::Image => 0,
        };
        Self::with(limits, wasm, guest)
    }

    /// The same when the guest was warmed, and what is compiled has so many bytes.
    pub(super) fn without_guest(limits: &Limits, wasm: usize) -> Self {
        Self::with(limits, wasm, 0)
    }

    fn with(limits: &Limits, wasm: usize, guest: u64) -> Self {
        let threads = compile::threads_for(wasm) as u64;
        let stacks = threads.saturating_mul(compiler_stack(limits) as u64);
        let copies = (wasm as u64).saturating_mul(COPIES);
        let data = [OWN, stacks, copies, guest].into_iter();
        let data = data.fold(limits.compile_memory, u64::saturating_add);
        let reserved = RESERVED.saturating_add((threads + 2).saturating_mul(ARENA));
        let wall = limits.compile.as_secs().saturating_add(1);
        Self {
            data,
            addresses: data.saturating_add(reserved),
            seconds: wall.saturating_mul(threads),
        }
    }

    /// Bytes of code that can come of it.
    pub(super) fn most_code(&self) -> u64 {
        self.data
    }

    /// As arguments of a program.
    pub(super) fn args(&self) -> [String; 3] {
        [self.data, self.addresses, self.seconds].map(|bound| bound.to_string())
    }

    /// Of arguments; nothing if they are others.
    pub(super) fn parse(args: &[OsString]) -> Option<Self> {
        let number = |arg: &OsString| arg.to_str()?.parse().ok();
        let [data, addresses, seconds] = args else {
            return None;
        };
        Some(Self { data: number(data)?, addresses: number(addresses)?, seconds: number(seconds)? })
    }

    /// Holds this process to them, for ever.
    pub(super) fn impose(&self) -> io::Result<()> {
        let both = |most| Rlimit { current: Some(most), maximum: Some(most) };
        setrlimit(Resource::Core, both(0))?;
        setrlimit(Resource::Fsize, both(0))?;
        setrlimit(Resource::Nofile, both(DESCRIPTORS))?;
        setrlimit(Resource::As, both(self.addresses))?;
        setrlimit(Resource::Data, both(self.data))?;
        // First it is told, by a signal that says what it was, then it is killed.
        let maximum = Some(self.seconds.saturating_add(GRACE));
        Ok(setrlimit(Resource::Cpu, Rlimit { current: Some(self.seconds), maximum })?)
    }

    /// Lowers what this process may still take for its data.
    pub(super) fn impose_data(&self) -> io::Result<()> {
        let data = Rlimit { current: Some(self.data), maximum: Some(self.data) };
        Ok(setrlimit(Resource::Data, data)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::module::warm::First;

    #[test]
    fn bounds_are_said_as_arguments_and_cannot_overflow() {
        let limits = Limits { compile_memory: u64::MAX, memory: u64::MAX, ..Limits::default() };
        let first = First { initialize: true, warm: false };
        for limits in [Limits::default(), limits] {
            let bounds = Bounds::of(&limits, Make::Module(first), usize::MAX);
            assert_eq!(Bounds::parse(&bounds.args().map(OsString::from)), Some(bounds));
            assert!(bounds.addresses >= bounds.data);
        }
        assert_eq!(Bounds::parse(&["1".into(), "2".into()]), None);
        assert_eq!(Bounds::parse(&["1".into(), "2".into(), "-3".into()]), None);
    }

    #[test]
    fn what_a_guest_may_have_is_not_the_compilers_to_take() {
        let (limits, first) = (Limits::default(), First { initialize: true, warm: false });
        let warming = Bounds::of(&limits, Make::Module(first), 1000);
        let compiling = Bounds::without_guest(&limits, 1000);
        assert!(warming.data >= compiling.data + limits.memory);
        assert_eq!(Bounds::of(&limits, Make::Image, 1000), compiling);
    }
}
