//! What the audit log hears of modules and images.

use super::code::CodeId;
use super::facts::Kind;
use super::load::{Loaded, Modules};
use crate::audit::{Event, Origin, Outcome, short};
use crate::job::Job;
use dpfw_protocol::error::Cause;
use dpfw_protocol::ids::ModuleHash;
use std::sync::Arc;

impl Modules {
    /// Tells the audit log what became of code that these wait for, and whether it was made now.
    pub(super) fn tell_audit(
        &self,
        code: CodeId,
        was_made: bool,
        outcome: &Result<Arc<Loaded>, Cause>,
        waiting: &[Job],
    ) {
        let Some(core) = self.core() else { return };
        core.audit.tell(|| {
            let first = waiting.iter().min_by_key(|job| job.arrived);
            let loaded = outcome.as_ref().ok();
            let compiled = loaded.and_then(|loaded| loaded.artifact.code.metadata().ok());
            Event::Module {
                outcome: if loaded.is_some() { Outcome::Loaded } else { Outcome::Refused },
                module: ModuleHash::from_bytes(*code.as_bytes()).to_hex(),
                kind: kind(code, loaded),
                from: if was_made { Origin::Sent } else { Origin::Cache },
                master: first.map(|job| job.session.principal.0.clone()),
                bytes: compiled.map(|code| code.len()),
                ms: first.map_or(0, |job| job.arrived.elapsed().as_millis() as u64),
                why: outcome.as_ref().err().map(short),
            }
        });
    }
}

fn kind(code: CodeId, loaded: Option<&Arc<Loaded>>) -> &'static str {
    match (code, loaded.map(|loaded| loaded.facts().kind)) {
        (CodeId::Image(_), _) => "image",
        (CodeId::Module(_), Some(Kind::Task)) => "task",
        (CodeId::Module(_), Some(Kind::Plain)) => "plain",
        (CodeId::Module(_), Some(Kind::Program)) => "program",
        (CodeId::Module(_), None) => "unknown",
    }
}
