//! What a caller gets instead of a result.

use dpfw_protocol::error::Cause;
use dpfw_protocol::ids::PeerId;
use std::fmt;
use std::sync::Arc;

/// A task ended without a result: which task, where, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskError(Arc<Inner>);

#[derive(Debug, PartialEq, Eq)]
struct Inner {
    task: String,
    slave: Option<PeerId>,
    attempts: u32,
    cause: Cause,
}

impl TaskError {
    pub(crate) fn new(task: &str, slave: Option<PeerId>, attempts: u32, cause: Cause) -> Self {
        Self(Arc::new(Inner { task: task.to_owned(), slave, attempts, cause }))
    }

    /// The task's name.
    pub fn task(&self) -> &str {
        &self.0.task
    }

    /// The slave that it last ran on, if it ran.
    pub fn slave(&self) -> Option<&PeerId> {
        self.0.slave.as_ref()
    }

    /// How often it was started, as far as is known.
    pub fn attempts(&self) -> u32 {
        self.0.attempts
    }

    /// Why there is no result.
    pub fn cause(&self) -> &Cause {
        &self.0.cause
    }
}

impl fmt::Display for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.0.task)?;
        if let Some(slave) = &self.0.slave {
            write!(f, " on {slave}")?;
        }
        write!(f, ": {}", self.0.cause)
    }
}

impl std::error::Error for TaskError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0.cause)
    }
}
