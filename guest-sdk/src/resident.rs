//! The resident of an instance.
//!
//! Owns: where it is, from its constructor on. Does not: touch memory by address, or run
//! anything twice at once. Invariant: an instance has at most one resident, which is never
//! taken out or dropped: its memory goes with the sandbox.

use crate::export::{Fallible, Reply, infallible};
use std::any::Any;
use std::cell::RefCell;

/// What a constructor made.
struct Resident {
    class: &'static str,
    value: Box<dyn Any>,
}

thread_local! {
    /// The resident. While a call is in it, it is borrowed: no import calls back into the
    /// module, so nobody else asks for it meanwhile, unless the call ended in a trap and the
    /// instance is used nevertheless.
    static RESIDENT: RefCell<Option<Resident>> = const { RefCell::new(None) };
}

/// Replies as a constructor.
///
/// # Panics
/// If there is a resident: whoever calls does not keep to the ABI.
pub fn construct<R: 'static>(class: &'static str, make: impl FnOnce() -> R, reply: &mut Reply) {
    vacant(class);
    put(class, make(), reply);
}

/// Replies as a constructor that can fail. If it does there still is no resident.
///
/// # Panics
/// If there is a resident.
pub fn try_construct<R: 'static, F: Fallible<Value = R>>(
    class: &'static str,
    make: impl FnOnce() -> F,
    reply: &mut Reply,
) {
    vacant(class);
    match make().into_result() {
        Ok(value) => put(class, value, reply),
        Err(error) => reply.failed(error),
    }
}

/// Calls a method on the resident.
///
/// # Panics
/// If there is no resident, or one of another class, or a call in it that has not returned.
pub fn method<R: 'static>(class: &'static str, call: impl FnOnce(&mut R)) {
    RESIDENT.with(|resident| {
        let Ok(mut resident) = resident.try_borrow_mut() else { in_a_call(class) };
        let there = resident.as_mut();
        match there.map(|there| (there.class, there.value.downcast_mut::<R>())) {
            Some((_, Some(value))) => call(value),
            Some((other, None)) => of_another_class(class, other),
            None => not_there(class),
        }
    })
}

/// Panics unless a resident can be put.
fn vacant(class: &str) {
    RESIDENT.with(|resident| match resident.try_borrow() {
        Ok(resident) => {
            if let Some(other) = resident.as_ref() {
                already_there(class, other.class);
            }
        }
        Err(_) => in_a_call(class),
    });
}

fn put<R: 'static>(class: &'static str, value: R, reply: &mut Reply) {
    RESIDENT.set(Some(Resident { class, value: Box::new(value) }));
    infallible((), reply);
}

// Texts are made here, so that calls that are in order carry no code for them.

#[cold]
fn already_there(class: &str, other: &str) -> ! {
    panic!("a constructor of `{class}` was called, and the instance has a `{other}` already")
}

#[cold]
fn in_a_call(class: &str) -> ! {
    panic!("`{class}` was called while a call was in the instance's resident: it has failed there")
}

#[cold]
fn of_another_class(class: &str, other: &str) -> ! {
    panic!("a method of `{class}` was called, and the instance has a `{other}`")
}

#[cold]
fn not_there(class: &str) -> ! {
    panic!("a method of `{class}` was called before a constructor")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    struct Counter(u64);

    fn told(call: impl FnOnce(&mut Reply)) -> Vec<u8> {
        let mut reply = Reply::in_pieces();
        call(&mut reply);
        reply.into_pieces().concat()
    }

    /// The text of a panic. Each test has a thread of its own, and so a resident.
    fn refused(call: impl FnOnce(&mut Reply)) -> String {
        let payload = catch_unwind(AssertUnwindSafe(|| told(call))).expect_err("panics");
        payload.downcast_ref::<String>().cloned().expect("a text")
    }

    fn bump(reply: &mut Reply) {
        method("counter", |counter: &mut Counter| {
            counter.0 += 1;
            infallible(counter.0, reply);
        });
    }

    #[test]
    fn state_is_kept_from_call_to_call() {
        assert_eq!(told(|reply| construct("counter", || Counter(6), reply)), [0, 0xc0]);
        assert_eq!((told(bump), told(bump)), (vec![0, 7], vec![0, 8]));
    }

    #[test]
    fn a_constructor_that_fails_leaves_no_resident() {
        assert_eq!(
            told(|reply| try_construct("counter", || Err::<Counter, _>("no"), reply)),
            b"\x01no"
        );
        assert_eq!(refused(bump), "a method of `counter` was called before a constructor");
        let made = told(|reply| try_construct("counter", || Ok::<_, &str>(Counter(1)), reply));
        assert_eq!(made, [0, 0xc0]);
        assert_eq!(told(bump), [0, 2]);
    }

    #[test]
    fn calls_out_of_order_say_so() {
        told(|reply| construct("counter", || Counter(0), reply));
        assert_eq!(
            refused(|reply| construct("counter", || -> Counter { unreachable!() }, reply)),
            "a constructor of `counter` was called, and the instance has a `counter` already"
        );
        assert_eq!(
            refused(|_| method("bank", |_: &mut String| ())),
            "a method of `bank` was called, and the instance has a `counter`"
        );
        assert_eq!(
            refused(|reply| method("counter", |_: &mut Counter| bump(reply))),
            "`counter` was called while a call was in the instance's resident: it has failed there"
        );
    }
}
