//! A chunk that is being put together.
//!
//! Owns: the arguments of its calls. Does not: choose how many there are. Invariant: they are
//! encoded as a batch once there is a second call; a single one goes as it is, uncopied.

use dpfw_protocol::batch;
use dpfw_protocol::call::Task;
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
    pub(crate) fn new(task: Task<T>, first: Result<Payload, String>) -> Self {
        Self { task, items: 1, batch: Vec::new(), first }
    }

    /// How long the arguments are so far.
    pub(crate) fn bytes(&self) -> usize {
        match self.items {
            1 => self.first.as_ref().map_or(0, Payload::len),
            _ => self.batch.len(),
        }
    }

    /// Adds another call of the same task.
    pub(crate) fn push(&mut self, args: &Payload) {
        if self.items == 1
            && let Ok(first) = &mut self.first
        {
            push(&mut self.batch, &std::mem::take(first));
        }
        push(&mut self.batch, args);
        self.items += 1;
    }

    /// What is sent as the task's arguments.
    pub(crate) fn into_args(self) -> Result<Payload, String> {
        match self.items {
            1 => self.first,
            _ => Ok(self.batch.into()),
        }
    }
}

fn push(batch: &mut Vec<u8>, args: &Payload) {
    batch::push_call(batch, args.pieces().map(|piece| &piece[..]));
}
