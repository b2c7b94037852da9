//! Limits that a caller sets for one task.
//!
//! Invariant: they only ever lower what the slave's operator allows.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Limits of one task. What is not set, or is higher, is the slave's own.
///
/// ```
/// use dpfw_protocol::task_limits::TaskLimits;
/// use std::time::Duration;
///
/// let limits = TaskLimits::new().memory(64 << 20).time(Duration::from_secs(2));
/// assert_eq!((limits.memory, limits.result), (Some(64 << 20), None));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskLimits {
    /// `memory`: linear memory in bytes.
    pub memory: Option<u64>,
    /// `table`: elements of tables.
    pub table: Option<u64>,
    /// `time`: how long it may run once it has started, in microseconds.
    pub time_us: Option<u64>,
    /// `host calls`: how often it may call the host.
    pub host_calls: Option<u64>,
    /// `result`: bytes of its result.
    pub result: Option<u64>,
    /// `log bytes`: bytes of its log lines.
    pub log: Option<u64>,
}

impl TaskLimits {
    /// None but the slave's.
    pub fn new() -> Self {
        Self::default()
    }

    /// Linear memory, of all its memories together.
    #[must_use]
    pub fn memory(self, bytes: u64) -> Self {
        Self { memory: Some(bytes), ..self }
    }

    /// Elements of its tables, of all of them together.
    #[must_use]
    pub fn table(self, elements: u64) -> Self {
        Self { table: Some(elements), ..self }
    }

    /// How long it may run once it has started. The deadline of a call counts from its
    /// dispatch, this does not.
    #[must_use]
    pub fn time(self, time: Duration) -> Self {
        Self { time_us: Some(u64::try_from(time.as_micros()).unwrap_or(u64::MAX)), ..self }
    }

    /// How often it may call the host.
    #[must_use]
    pub fn host_calls(self, calls: u64) -> Self {
        Self { host_calls: Some(calls), ..self }
    }

    /// Bytes of its result.
    #[must_use]
    pub fn result(self, bytes: u64) -> Self {
        Self { result: Some(bytes), ..self }
    }

    /// Bytes of its log lines.
    #[must_use]
    pub fn log(self, bytes: u64) -> Self {
        Self { log: Some(bytes), ..self }
    }
}
