//! A resident on the calling thread, without any link: to measure what a call costs by itself.

use super::{Alone, Local};
use crate::fiber::control::Control;
use crate::job::{NOTHING, Target};
use crate::limits::Granted;
use crate::module::cache::Cache;
use crate::module::load::Loaded;
use crate::residents::ResidentEngines;
use crate::sandbox::host::{Allowance, Holder, Host, Lent};
use crate::sandbox::run::Ended;
use crate::sandbox::run::lasting::Lasting;
use dpfw_protocol::error::Cause;
use dpfw_protocol::ids::{AttemptId, ConversationId};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// A resident of a [`Local`] module, whose methods are called one after the other.
pub struct LocalResident {
    lasting: Lasting,
    granted: Granted,
    alone: Alone,
    module: Arc<Loaded>,
    /// Keeps the compiled code on disk.
    _cache: Cache,
}

impl Local {
    /// Makes a resident by a constructor with encoded arguments.
    ///
    /// # Errors
    /// The [`Cause`] that whoever spawned it would get.
    pub fn resident(self, constructor: &str, args: &[u8]) -> Result<LocalResident, Cause> {
        let Self { alone, module, _cache, .. } = self;
        let target = Target { module, function: NOTHING, grant: None };
        let lodged = ResidentEngines::default().lodge(&alone.engines, &target)?;
        let module = target.module;
        let prepared = lodged.prepared;
        let (core, control) = (Arc::clone(&alone.lent.core), Arc::<Control>::default());
        let granted = core.limits.granted(None);
        let lent = Arc::new(Lent { core, holder: Holder::Fiber(Arc::clone(&control)) });
        let left = Allowance::of(&granted);
        let host = Host::new(&lent, &alone.session, AttemptId(1), left);
        let lasting = at_once(Lasting::new(&prepared, host, &control, false))??;
        let mut resident = LocalResident { lasting, granted, alone, module, _cache };
        let constructor = resident.method(constructor)?;
        resident.call(constructor, args)?;
        Ok(resident)
    }
}

impl LocalResident {
    /// Finds a method, or a constructor, by its name with the class.
    ///
    /// # Errors
    /// [`Cause::MissingTask`] if there is none.
    pub fn method(&self, name: &str) -> Result<usize, Cause> {
        let names = &self.module.facts().residents;
        let missing = |_| Cause::MissingTask { name: name.into(), known: names.clone() };
        names.binary_search_by(|it| it.as_str().cmp(name)).map_err(missing)
    }

    /// Calls a method with encoded arguments; gives the encoded result.
    ///
    /// # Errors
    /// The [`Cause`] that a caller would get.
    pub fn call(&mut self, method: usize, args: &[u8]) -> Result<Vec<u8>, Cause> {
        self.lasting.begin(&self.alone.session, ConversationId(1), &self.granted);
        let result = match at_once(self.lasting.call(method, args))? {
            Ended::Returned(returned) => {
                let mut out = Vec::new();
                self.lasting.result(&returned).map(|given| {
                    given.append_to(&mut out);
                    out
                })
            }
            Ended::Broken(error) => Err(self.lasting.cause(&error)),
            Ended::Refused(cause) => Err(cause),
        };
        self.lasting.end();
        result
    }
}

/// What does not wait is over when it was begun.
fn at_once<T>(done: impl Future<Output = T>) -> Result<T, Cause> {
    match pin!(done).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => Ok(done),
        Poll::Pending => Err(Cause::Rejected { reason: "its calls wait".into() }),
    }
}

impl std::fmt::Debug for LocalResident {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LocalResident")
    }
}
