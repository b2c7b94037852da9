//! `dpfw resident`: residents, from the command line.
//!
//! Owns: what is asked for and how the answer is told. Does not: know the class of a resident;
//! its slave says what it is. Invariant: a key that is on several of the slaves that were named
//! is not guessed at.

mod list;
mod spawn;

use crate::address::Address;
use crate::exit::{Exit, Failure};
use crate::json::encode::Arguments;
use crate::json::hint::Hints;
use crate::json::{self, Json};
use crate::master;
use crate::module::{self, Loaded};
use crate::run::write;
use crate::screen::Screen;
use crate::security::SecurityOptions;
use crate::signals::Signals;
use crate::store::namespace;
use crate::units::Span;
use clap::{Args, Subcommand};
use dpfw::{Asked, Master, MethodCall, MethodExt, Namespace, Resident, TaskError, Untyped};
use serde_json::json;
use std::path::PathBuf;

/// Spawns residents, calls, lists and stops them.
///
/// A resident is a live instance under a key of a slave's store, which keeps its state from call
/// to call. With several slaves a key is looked for at all of them.
#[derive(Args, Debug)]
#[command(after_help = crate::help::RESIDENT)]
pub(crate) struct ResidentCommand {
    #[command(subcommand)]
    operation: Operation,
}

#[derive(Subcommand, Debug)]
enum Operation {
    Spawn(Box<spawn::Spawn>),
    /// Lists residents in the order of their keys
    List {
        /// Only keys that begin so
        #[arg(default_value = "")]
        prefix: String,
        #[command(flatten)]
        at: At,
    },
    /// Calls a method and prints its result as JSON, in one line
    Call {
        #[command(flatten)]
        method: Method,
        #[command(flatten)]
        at: At,
    },
    /// Calls a method whose result nobody wants; ends when it is done, and prints nothing
    Cast {
        #[command(flatten)]
        method: Method,
        #[command(flatten)]
        at: At,
    },
    /// Ends a resident when its present call is over; calls that wait for it fail
    Stop {
        /// The resident's key
        key: String,
        #[command(flatten)]
        at: At,
    },
}

/// A method with its arguments.
#[derive(Args, Debug)]
struct Method {
    /// The resident's key
    key: String,
    /// The method's name, without the class
    method: String,
    /// The arguments as a JSON array, an element for each; none if left out; `-` reads them from
    /// standard input
    #[arg(value_name = "ARGS", allow_hyphen_values = true)]
    args: Option<String>,
    /// The resident's module: arguments are then encoded as it describes them
    #[arg(long, value_name = "MODULE")]
    module: Option<PathBuf>,
    /// At most so long from the call to its end; a call that runs is interrupted then, which
    /// ends the resident or begins it again
    #[arg(long, value_name = "DURATION")]
    timeout: Option<Span>,
}

/// Which slaves, and which part of their stores.
#[derive(Args, Debug)]
#[command(next_help_heading = "Slaves")]
struct At {
    /// Where a slave listens. May be given several times
    #[arg(long = "slave", value_name = "ADDR", required = true)]
    slaves: Vec<Address>,
    /// How often it is dialled before it is given up, a second apart
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    dial_tries: u32,
    /// The part of the store that the keys are in: the only one that the certificate names, or
    /// `default`, unless given
    #[arg(long, value_name = "NAME", value_parser = namespace)]
    namespace: Option<Namespace>,
    #[command(flatten)]
    security: SecurityOptions,
}

impl At {
    async fn build(&self, screen: &Screen, signals: &mut Signals) -> Result<Master, Failure> {
        let mut builder = Master::builder()
            .security(self.security.security(screen)?)
            .dial_tries(Some(self.dial_tries))
            .namespace(self.namespace.clone());
        for address in &self.slaves {
            builder = builder.slave(address.as_str());
        }
        tokio::select! {
            built = builder.build() => Ok(built?),
            exit = signals.next() => Err(Failure::new(exit, "no slave was linked yet")),
        }
    }
}

impl ResidentCommand {
    /// Runs the command.
    ///
    /// # Errors
    /// A [`Failure`] with the exit code.
    pub(crate) async fn run(&self, screen: &Screen) -> Result<Exit, Failure> {
        let mut signals = Signals::new()?;
        // Before a slave is linked: what cannot be used is told at once.
        let ready = self.operation.ready()?;
        let master = self.operation.at().build(screen, &mut signals).await?;
        let outcome = tokio::select! {
            outcome = self.operation.apply(&master, ready, screen) => outcome,
            exit = signals.next() => {
                Err(Failure::new(exit, "ended by a signal; the slave may have done it"))
            }
        };
        master::end(&master).await;
        outcome
    }
}

/// What of the command line was read before a slave is linked.
enum Ready {
    Nothing,
    Arguments(Vec<serde_json::Value>, Option<Loaded>),
    Constructor(dpfw::Spawn<Untyped>),
}

impl Operation {
    fn at(&self) -> &At {
        match self {
            Self::Spawn(spawn) => spawn.at(),
            Self::List { at, .. }
            | Self::Call { at, .. }
            | Self::Cast { at, .. }
            | Self::Stop { at, .. } => at,
        }
    }

    fn ready(&self) -> Result<Ready, Failure> {
        match self {
            Self::Spawn(spawn) => Ok(Ready::Constructor(spawn.constructor()?)),
            Self::Call { method, .. } | Self::Cast { method, .. } => {
                let values = json::given(method.args.as_deref())?;
                let loaded = method.module.as_deref().map(module::load).transpose()?;
                Ok(Ready::Arguments(values, loaded))
            }
            Self::List { .. } | Self::Stop { .. } => Ok(Ready::Nothing),
        }
    }

    async fn apply(&self, master: &Master, ready: Ready, screen: &Screen) -> Result<Exit, Failure> {
        match (self, ready) {
            (Self::Spawn(spawn), Ready::Constructor(constructor)) => {
                spawn.apply(master, constructor, screen).await
            }
            (Self::Call { method, .. }, Ready::Arguments(values, loaded)) => {
                let resident = find(master, &method.key).await?;
                let call = method.asked(&resident, &values, loaded.as_ref())?;
                let Json(mut line) = resident.call(call).await.map_err(|e| failure(&e))?;
                line.push(b'\n');
                write(&line)
            }
            (Self::Cast { method, .. }, Ready::Arguments(values, loaded)) => {
                let resident = find(master, &method.key).await?;
                let call = method.asked(&resident, &values, loaded.as_ref())?;
                // What waits in a mailbox goes with its master: this one stays until it is done.
                resident.cast(call).done().await.map_err(|e| failure(&e))?;
                Ok(Exit::Ok)
            }
            (Self::List { prefix, .. }, _) => {
                list::list(master.residents(prefix).await.map_err(|e| failure(&e))?, screen)
            }
            (Self::Stop { key, .. }, _) => {
                find(master, key).await?.stop().await.map_err(|e| failure(&e))?;
                match screen.is_json() {
                    true => write(&json::line(&json!({ "key": key, "stopped": true }))?),
                    false => Ok(Exit::Ok),
                }
            }
            (Self::Spawn(_) | Self::Call { .. } | Self::Cast { .. }, _) => {
                Err(Failure::new(Exit::Internal, "the command line was not read"))
            }
        }
    }
}

async fn find(master: &Master, key: &str) -> Result<Resident<Untyped>, Failure> {
    master.untyped_resident(key).await.map_err(|e| failure(&e))
}

impl Method {
    fn asked(
        &self,
        resident: &Resident<Untyped>,
        values: &[serde_json::Value],
        loaded: Option<&Loaded>,
    ) -> Result<Asked<Untyped, Json>, Failure> {
        let call: MethodCall<Untyped, Json> = match loaded {
            Some(loaded) => {
                let name = format!("{}.{}", resident.class(), self.method);
                let call = loaded.method(&name)?.call(values);
                MethodCall::new(call.map_err(|text| Failure::new(Exit::Call, text))?)
            }
            None => {
                let arguments = Arguments { values, hints: &Hints::default() };
                resident
                    .method(&self.method, &arguments)
                    .map_err(|e| Failure::new(Exit::Call, e))?
            }
        };
        Ok(match self.timeout {
            Some(Span(timeout)) => call.timeout(timeout),
            None => call.into(),
        })
    }
}

fn failure(error: &TaskError) -> Failure {
    Failure::of_task(error)
}
