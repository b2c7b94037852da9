//! What guests log becomes events of the master's log.

use dpfw_protocol::limits::{MAX_NAME, MAX_TEXT};
use dpfw_protocol::message::Log;
use dpfw_protocol::text::printable;
use std::fmt::Display;

/// A line that a guest has logged.
pub(crate) fn say(slave: &impl Display, task: &str, log: &Log) {
    // A slave of ours has escaped them; this one may not be.
    let (target, text) = (printable(&log.target, MAX_NAME), printable(&log.text, MAX_TEXT));
    macro_rules! say {
        ($level:ident) => {
            tracing::event!(
                target: "dpfw::task", tracing::Level::$level, %slave, task, target, "{text}"
            )
        };
    }
    match log.level {
        1 => say!(ERROR),
        2 => say!(WARN),
        3 => say!(INFO),
        4 => say!(DEBUG),
        _ => say!(TRACE),
    }
}
