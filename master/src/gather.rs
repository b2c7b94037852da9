//! A chunk that is being put together.
//!
//! Owns: the arguments of its calls. Does not: choose how many there are. Invariant: they are
//! encoded as a batch once there is a second call; a single one goes as it is, uncopied.

use dpfw_dispatch::chunk::MAX_BYTES;
use dpfw_protocol::batch;
use dpfw_protocol::call::{Call, Task};
use dpfw_protocol::payload::Payload;

/// See the module's page.
pub(crate) struct Gathering<T> {
    pub(crate) task: Task<T>,
    pub(crate) items: u32,
    batch: Vec<u8>,
    /// The only call's arguments, until there is a second one.
    first: Result<Payload, String>,
}

impl<T> Gathering<T> {
    /// A chunk of one call, whose arguments may be none that can be encoded.
    pub(crate) fn new(call: Call<T>) -> Self {
        let (task, first) = call.into_parts();
        Self { task, items: 1, batch: Vec::new(), first }
    }

    /// How long the arguments are so far.
    fn bytes(&self) -> usize {
        match self.items {
            1 => self.first.as_ref().map_or(0, Payload::len),
            _ => self.batch.len(),
        }
    }

    /// Whether it takes no more, if it is to have so many calls.
    pub(crate) fn is_full(&self, most: u32) -> bool {
        self.items >= most || self.bytes() >= MAX_BYTES
    }

    /// Whether its call cannot be encoded, and so fails alone.
    pub(crate) fn is_broken(&self) -> bool {
        self.first.is_err()
    }

    /// Adds another call, if that can be in the same chunk.
    pub(crate) fn push(&mut self, call: &Call<T>) -> bool {
        let (Ok(first), Ok(args)) = (&mut self.first, call.args()) else { return false };
        let before = if self.items == 1 { first.len() } else { self.batch.len() };
        if before + args.len() > MAX_BYTES || !self.task.is_same(call.task()) {
            return false;
        }
        if self.items == 1 {
            batch::push_call(&mut self.batch, &std::mem::take(first));
        }
        batch::push_call(&mut self.batch, args);
        self.items += 1;
        true
    }

    /// What is sent as the task's arguments.
    pub(crate) fn into_args(self) -> Result<Payload, String> {
        match self.items {
            1 => self.first,
            _ => Ok(self.batch.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dpfw_protocol::module::Module;

    #[test]
    fn calls_go_together_that_are_of_one_task_and_not_too_long() {
        let module = Module::new(&b"\0asm\x01\0\0\0"[..]);
        let call = |name: &str, len: usize| {
            Task::<()>::new(module.clone(), name).call(&("x".repeat(len),)).expect("encodes")
        };
        let mut chunk = Gathering::new(call("a", 1));
        assert!(!chunk.push(&call("b", 1)), "another task");
        assert!(!chunk.push(&call("a", MAX_BYTES)), "too long");
        assert_eq!(chunk.items, 1);
        assert!(chunk.push(&call("a", 100)) && chunk.push(&call("a", 2)));
        assert_eq!((chunk.items, chunk.is_full(3), chunk.is_full(4)), (3, true, false));
        let bytes = chunk.into_args().expect("arguments").into_bytes();
        let lengths: Result<Vec<_>, _> =
            batch::calls(&bytes).map(|call| call.map(<[u8]>::len)).collect();
        assert_eq!(lengths, Ok(vec![3, 103, 4]));

        let single = Gathering::new(call("a", 1));
        let args = single.into_args().expect("arguments");
        assert_eq!(Some(&args), call("a", 1).args().ok(), "no batch");
    }
}
