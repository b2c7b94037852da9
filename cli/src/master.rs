//! The master of a `run` or a `map`: which slaves it has, how it begins and ends.

use crate::address::Address;
use crate::exit::{Exit, Failure};
use crate::screen::Screen;
use crate::security::SecurityOptions;
use crate::settings::{LimitOptions, SlotOptions, slave};
use crate::signals::Signals;
use clap::Args;
use dpfw::{Master, Running};
use std::time::Duration;

/// Where tasks run.
#[derive(Args, Debug)]
#[command(next_help_heading = "Slaves")]
pub(crate) struct Place {
    /// Dials a slave, and again when its link is lost. May be given several times. Without
    /// --slave and --listen, a slave within the process runs the tasks
    #[arg(long = "slave", value_name = "ADDR")]
    #[arg(conflicts_with_all = ["SlotOptions", "LimitOptions"])]
    slaves: Vec<Address>,
    /// Listens for slaves that dial in, and says on standard error where; port 0 takes a
    /// free one. Tasks wait until a slave is there
    #[arg(long, value_name = "ADDR")]
    #[arg(conflicts_with_all = ["SlotOptions", "LimitOptions"])]
    listen: Vec<Address>,
    /// How often an address is dialled before it is given up, a second apart
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    dial_tries: u32,
    #[command(flatten)]
    security: SecurityOptions,
    #[command(flatten, next_help_heading = "The slave within the process")]
    slots: SlotOptions,
    #[command(flatten)]
    limits: LimitOptions,
}

/// How long a master that ends waits for its slaves to be told.
const FAREWELL: Duration = Duration::from_secs(2);

impl Place {
    /// Builds the master, unless a signal comes first.
    ///
    /// # Errors
    /// The [`Failure`] of the first slave that is not there, or the signal's.
    pub(crate) async fn build(
        &self,
        screen: &Screen,
        signals: &mut Signals,
    ) -> Result<Master, Failure> {
        let mut builder = Master::builder()
            .security(self.security.security(screen)?)
            .dial_tries(Some(self.dial_tries));
        for address in &self.slaves {
            builder = builder.slave(address.as_str());
        }
        for address in &self.listen {
            builder = builder.listen(address.as_str());
        }
        if self.slaves.is_empty() && self.listen.is_empty() {
            builder = builder.embed(slave(&self.slots, &self.limits));
        }
        let Running { master, listening } = tokio::select! {
            built = builder.build_listening() => built?,
            exit = signals.next() => return Err(Failure::new(exit, "no slave was linked yet")),
        };
        for address in listening {
            screen.listening(&address);
        }
        Ok(master)
    }
}

/// Ends the master: what runs is cancelled, slaves are told.
pub(crate) async fn end(master: &Master) {
    // A slave that does not read must not hold up the end.
    let _ = tokio::time::timeout(FAREWELL, master.shutdown()).await;
}

/// What is said when a signal ends a `run` or a `map`.
pub(crate) fn cancelled(exit: Exit) -> Failure {
    let signal = match exit {
        Exit::Terminated => "SIGTERM",
        _ => "SIGINT",
    };
    Failure::new(exit, format!("ended by {signal}; what still ran was cancelled"))
}
