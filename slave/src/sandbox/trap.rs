//! From wasmtime's errors to causes a caller understands.

use super::host::Host;
use super::imports::{Abi, Ends};
use crate::scarce;
use crate::watch::Stop;
use dpfw_protocol::error::{Cause, Limit, Trap};
use wasmtime::WasmBacktrace;

/// Why a guest ended. What it said itself comes first, then a limit that it ran into,
/// then the trap.
pub(crate) fn cause(error: &wasmtime::Error, host: &mut Host, stop: Option<Stop>) -> Cause {
    let trap = error.downcast_ref::<wasmtime::Trap>();
    if trap == Some(&wasmtime::Trap::Interrupt) {
        // File calls cannot be refused: who has called too often was interrupted for that.
        let of_calls = host.refused().filter(|cause| is_of_calls(Some(cause)));
        return stop.map(Cause::from).or(of_calls).unwrap_or(Cause::Cancelled);
    }
    if let Some(Ends(cause)) = error.downcast_ref() {
        return cause.clone();
    }
    let mut backtrace = frames(error);
    if let Some(limit) = host.refused() {
        return limit;
    }
    if let Some(said) = host.last_words(&mut backtrace) {
        return said;
    }
    of_trap(error, backtrace)
}

/// Why a program ended that did not exit, `limit` being the one that it ran into; `began` if
/// its `_start` was entered. One that was interrupted was cancelled, unless whoever did it
/// knows better: too many host calls are a reason as well.
pub(crate) fn of_program(error: &wasmtime::Error, limit: Option<Cause>, began: bool) -> Cause {
    let trap = error.downcast_ref::<wasmtime::Trap>();
    if trap == Some(&wasmtime::Trap::Interrupt) && !is_of_calls(limit.as_ref()) {
        return Cause::Cancelled;
    }
    match limit {
        Some(limit) => limit,
        // What WASI does not forgive is the program's own doing.
        None if began && trap.is_none() => Cause::GuestAbi { message: format!("{error:#}") },
        None => of_trap(error, frames(error)),
    }
}

fn is_of_calls(limit: Option<&Cause>) -> bool {
    matches!(limit, Some(Cause::Limit { limit: Limit::HostCalls, .. }))
}

fn of_trap(error: &wasmtime::Error, backtrace: Vec<String>) -> Cause {
    match error.downcast_ref::<wasmtime::Trap>() {
        Some(trap) => Cause::Trap { kind: kind(*trap), backtrace },
        None => match error.downcast_ref::<Abi>() {
            Some(Abi(message)) => Cause::GuestAbi { message: message.clone() },
            None => setup(error),
        },
    }
}

/// An error of making a sandbox, before anything of the guest ran.
fn setup(error: &wasmtime::Error) -> Cause {
    match error.downcast_ref::<wasmtime::PoolConcurrencyLimitError>() {
        Some(_) => Cause::Busy { what: "no sandbox is free".into() },
        None => scarce::cause("no sandbox", error),
    }
}

fn kind(trap: wasmtime::Trap) -> Trap {
    use wasmtime::Trap as W;
    match trap {
        W::StackOverflow => Trap::StackOverflow,
        W::UnreachableCodeReached => Trap::Unreachable,
        W::MemoryOutOfBounds | W::HeapMisaligned => Trap::MemoryOutOfBounds,
        W::TableOutOfBounds => Trap::TableOutOfBounds,
        W::IndirectCallToNull => Trap::NullCall,
        W::BadSignature => Trap::BadSignature,
        W::IntegerDivisionByZero => Trap::DivisionByZero,
        W::IntegerOverflow => Trap::IntegerOverflow,
        W::BadConversionToInteger => Trap::BadConversion,
        other => Trap::Other(other.to_string()),
    }
}

/// The guest's functions, innermost first, each as `name [index+0xoffset]`: the function's
/// index in the module, and the instruction's place in its body. Who has the module finds
/// the file and line with these. Not here: debug information is the guest's, and reading
/// what is made to be slow to read would hold the slot beyond every limit.
fn frames(error: &wasmtime::Error) -> Vec<String> {
    let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() else {
        return Vec::new();
    };
    let name = |frame: &wasmtime::FrameInfo| {
        let mut text = match frame.func_name() {
            Some(name) => demangled(name),
            None => format!("function {}", frame.func_index()),
        };
        if let Some(offset) = frame.func_offset() {
            // The place is not what a long name is cut for.
            text.truncate(text.floor_char_boundary(NAME));
            text += &format!(" [{}+{offset:#x}]", frame.func_index());
        }
        text
    };
    backtrace.frames().iter().map(name).collect()
}

/// The longest name of a function in a frame, in bytes; a frame has 256.
const NAME: usize = 220;

/// The name as its source has it.
fn demangled(name: &str) -> String {
    format!("{:#}", rustc_demangle::demangle(name))
}
