//! What to tell a caller when the system has nothing left.
//!
//! Memory, mappings, descriptors and threads run out at one slave; at another there may be
//! some. So the cause is [`Cause::Busy`], with which a task is tried elsewhere, and nothing of
//! it is remembered. Invariant: whatever else an error says stays what it is.

use dpfw_protocol::error::Cause;
use rustix::io::Errno;
use std::error::Error;
use std::io;

/// An error of the system's or of wasmtime's, which is no guest's doing.
pub(crate) fn cause(what: &str, error: &wasmtime::Error) -> Cause {
    let message = format!("{what}: {error:#}");
    match is_scarce(error) {
        true => Cause::Busy { what: message },
        false => Cause::Internal { message },
    }
}

/// The same for one of input and output.
pub(crate) fn cause_of_io(what: &str, error: &io::Error) -> Cause {
    let message = format!("{what}: {error}");
    match is_lack(error) {
        true => Cause::Busy { what: message },
        false => Cause::Internal { message },
    }
}

/// Whether something of the system is used up.
pub(crate) fn is_scarce(error: &wasmtime::Error) -> bool {
    error.is::<wasmtime::OutOfMemory>() || error.chain().any(is_lack)
}

/// Whether it says so.
pub(crate) fn is_lack(error: &(dyn Error + 'static)) -> bool {
    let of_io = |error: &io::Error| error.raw_os_error().map(Errno::from_raw_os_error);
    let code = error.downcast_ref::<Errno>().copied();
    let code = code.or_else(|| error.downcast_ref::<io::Error>().and_then(of_io));
    matches!(code, Some(Errno::NOMEM | Errno::AGAIN | Errno::MFILE | Errno::NFILE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f60_what_is_used_up_here_may_be_there_elsewhere() {
        let lacking = [Errno::NOMEM, Errno::AGAIN, Errno::MFILE];
        for code in lacking {
            let error = wasmtime::Error::from(code).context("no memory for a sandbox");
            assert!(matches!(cause("x", &error), Cause::Busy { .. }), "{error:#}");
            let error = io::Error::from(code);
            assert!(matches!(cause_of_io("x", &error), Cause::Busy { .. }), "{error}");
        }
        for code in [Errno::NOENT, Errno::ACCESS] {
            let error = wasmtime::Error::from(code);
            assert!(matches!(cause("x", &error), Cause::Internal { .. }), "{error:#}");
        }
        let error = wasmtime::Error::msg("something else");
        assert!(matches!(cause("x", &error), Cause::Internal { .. }), "{error:#}");
    }
}
