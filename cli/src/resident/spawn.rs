//! `dpfw resident spawn`: a resident of a module's class.

use super::{At, failure, list};
use crate::exit::{Exit, Failure};
use crate::json;
use crate::module;
use crate::run::write;
use crate::screen::Screen;
use crate::units::Span;
use clap::Args;
use dpfw::{Master, Restart, Spawn as Constructor, Untyped};
use std::path::PathBuf;

/// Spawns a resident, and prints where it is
///
/// It lives until it is stopped, fails for good, or its slave ends, and not only as long as this
/// command runs.
#[derive(Args, Debug)]
pub(super) struct Spawn {
    /// The module that has its class
    module: PathBuf,
    /// Its constructor, with the class: `counter.new`
    constructor: String,
    /// The key that it gets
    key: String,
    /// The arguments as a JSON array, an element for each; none if left out; `-` reads them from
    /// standard input
    #[arg(value_name = "ARGS", allow_hyphen_values = true)]
    args: Option<String>,
    /// Takes the resident that is under the key already, if there is one
    #[arg(long)]
    get: bool,
    /// Begins it again when it has failed, with starts at least this far apart
    #[arg(long, value_name = "DURATION", value_parser = Span::above_zero)]
    restart_every: Option<Span>,
    /// At most so often in a row
    #[arg(long, value_name = "N", requires = "restart_every")]
    retries: Option<u32>,
    /// Each pause is twice as long as the one before, up to this
    #[arg(long, value_name = "DURATION", requires = "restart_every")]
    backoff: Option<Span>,
    /// Calls that wait fail when it is begun again, instead of waiting on
    #[arg(long, requires = "restart_every")]
    tell_on_restart: bool,
    /// So many calls of each master may be in its mailbox
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    mailbox: Option<u32>,
    /// What it saves is on the slave's disk before callers are answered
    #[arg(long)]
    durable: bool,
    /// How long it may take until the constructor has run
    #[arg(long, value_name = "DURATION")]
    timeout: Option<Span>,
    #[command(flatten)]
    at: At,
}

impl Spawn {
    pub(super) fn at(&self) -> &At {
        &self.at
    }

    /// The call of the constructor.
    ///
    /// # Errors
    /// A [`Failure`] if the module has no such one, or the arguments cannot be used.
    pub(super) fn constructor(&self) -> Result<Constructor<Untyped>, Failure> {
        let values = json::given(self.args.as_deref())?;
        let constructor = module::load(&self.module)?.method(&self.constructor)?;
        let call = constructor.call(&values).map_err(|text| Failure::new(Exit::Call, text))?;
        Ok(Constructor::new(call.retype()))
    }

    fn policy(&self) -> Option<Restart> {
        let mut restart = Restart::every(self.restart_every?.0);
        if let Some(retries) = self.retries {
            restart = restart.retries(retries);
        }
        if let Some(Span(most)) = self.backoff {
            restart = restart.backoff(most);
        }
        Some(restart)
    }

    pub(super) async fn apply(
        &self,
        master: &Master,
        constructor: Constructor<Untyped>,
        screen: &Screen,
    ) -> Result<Exit, Failure> {
        let mut spawning = match self.get {
            true => master.get_or_spawn(&*self.key, constructor),
            false => master.spawn(&*self.key, constructor),
        };
        if let Some(restart) = self.policy() {
            spawning = spawning.restart(restart);
        }
        if self.tell_on_restart {
            spawning = spawning.tell_on_restart();
        }
        if let Some(calls) = self.mailbox {
            spawning = spawning.mailbox(calls);
        }
        if self.durable {
            spawning = spawning.durable();
        }
        if let Some(Span(timeout)) = self.timeout {
            spawning = spawning.timeout(timeout);
        }
        let resident = spawning.await.map_err(|e| failure(&e))?;
        if screen.is_json() {
            let info = resident.info().await.map_err(|e| failure(&e))?;
            return write(&json::line(&list::object(&info))?);
        }
        write(format!("{} on {}\n", crate::escape::line(&self.key), resident.slave()).as_bytes())
    }
}
