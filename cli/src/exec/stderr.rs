//! What programs write to stderr, passed on line by line.
//!
//! Owns: telling these lines from the rest of the log, and writing them. Invariant: they have
//! nothing that acts on a terminal.

use crate::json;
use crate::screen::Screen;
use serde_json::json;
use std::fmt;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, Filter};

/// Writes the lines.
#[derive(Clone, Debug)]
pub(crate) struct PassOn(pub(crate) Screen);

impl<S: Subscriber> Layer<S> for PassOn {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if let Some(text) = line(event) {
            // The slave has escaped it, and so has the master.
            match self.0.is_json() {
                true => self.0.write(&json::line(&json!({ "stderr": text })).unwrap_or_default()),
                false => self.0.write(format!("{text}\n").as_bytes()),
            }
        }
    }
}

/// What [`PassOn`] has to see.
pub(crate) fn passed_on() -> Targets {
    Targets::new().with_target(TASKS, Level::WARN)
}

/// The target of what tasks say.
const TASKS: &str = "dpfw::task";

/// Everything that is none of these lines.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rest;

impl<S> Filter<S> for Rest {
    fn enabled(&self, _: &tracing::Metadata<'_>, _: &Context<'_, S>) -> bool {
        true
    }

    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        line(event).is_none()
    }
}

/// The line, if the event is one that a program wrote to stderr.
fn line(event: &Event<'_>) -> Option<String> {
    if event.metadata().target() != TASKS {
        return None;
    }
    let mut seen = Seen::default();
    event.record(&mut seen);
    seen.is_stderr.then_some(seen.text)
}

#[derive(Default)]
struct Seen {
    is_stderr: bool,
    text: String,
}

impl Visit for Seen {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.is_stderr |= field.name() == "target" && value == "stderr";
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.text = format!("{value:?}");
        }
    }
}
