//! What is particular to attempts at WASI programs: their ports, and how they run.
//!
//! Owns: the futures of such attempts. Does not: poll or stop them; whatever waits without a
//! slot is [`Fiber`](crate::fiber::Fiber)'s. Invariant: what flows to and from a program goes
//! through its ports.

pub(crate) mod outlet;
pub(crate) mod run;
pub(crate) mod wasi;

use crate::core::Core;
use crate::fiber::Running;
use crate::fiber::control::Control;
use crate::grants::{Used, used};
use crate::job::{Job, Target};
use crate::sandbox::imports::WASI;
use crate::sandbox::journal::{Journal, tell_dropped};
use dpfw_link::inlet::{Begin, Inlet};
use dpfw_protocol::error::Cause;
use dpfw_protocol::ids::Port;
use dpfw_protocol::program::{Invocation, START};
use outlet::Outlet;
use run::Prepared;
use std::sync::{Arc, Mutex, PoisonError};
use wasi::State;

/// The attempt's ports and journal, shared by its sandbox and those who feed it.
#[derive(Clone, Debug)]
pub(crate) struct Ports {
    pub(crate) input: Arc<Inlet>,
    pub(crate) output: Arc<Outlet>,
    pub(crate) journal: Arc<Mutex<Journal>>,
}

impl Ports {
    fn new(job: &Job, has_input: bool, log: u64) -> Self {
        let outbox = &job.session.outbox;
        let port = |port| job.attempt.port(port);
        let input = match has_input {
            true => Inlet::default(),
            false => Inlet::ended(),
        };
        if has_input {
            input.attach(outbox, port(Port::Input), Begin::WhenRead);
        }
        Self {
            input: Arc::new(input),
            output: Arc::new(Outlet::new(outbox, port(Port::Output), job.session.window)),
            journal: Arc::new(Mutex::new(Journal::new(&job.session, job.attempt, log))),
        }
    }

    /// The last lines that the program wrote to stderr.
    pub(crate) fn last_lines(&self) -> Vec<String> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner).last_lines()
    }

    /// Gives back what an attempt has that is over.
    pub(crate) fn finish(&self, job: &Job) {
        self.input.close();
        self.output.forget();
        let dropped = {
            let mut journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
            journal.finish();
            journal.dropped()
        };
        tell_dropped(&job.session, job.attempt, dropped);
    }
}

/// Makes the future of an attempt.
///
/// # Errors
/// [`Cause::BadArguments`] if its arguments are no invocation.
pub(crate) fn begin(
    core: &Core,
    job: &Job,
    target: &Target,
    prepared: Arc<Prepared>,
    control: &Arc<Control>,
) -> Result<(Running, Ports), Cause> {
    let invocation = Invocation::decode(&job.args)?;
    let granted = core.limits.granted(job.limits.as_deref());
    let ports = Ports::new(job, invocation.input, granted.log);
    let grant = target.grant.as_deref();
    let state = State::new(&invocation, &ports, control, &prepared.engine, &granted, grant);
    if let Some(grant) = grant {
        // A program has what it may have from its beginning.
        let has = [
            (!grant.env.is_empty(), Used::Environment),
            (grant.directories.is_some(), Used::Directories),
        ];
        has.into_iter().filter(|(has, _)| *has).for_each(|(_, what)| {
            used(core, &job.session, job.attempt, grant, what);
        });
    }
    let running = run::run(prepared, state, ports.clone(), Arc::clone(control), job.deadline);
    Ok((Box::pin(running), ports))
}
