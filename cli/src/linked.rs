//! A link to a slave that runs already, for commands that dispatch nothing.

use crate::address::Address;
use crate::exit::{Exit, Failure};
use crate::screen::Screen;
use crate::security::SecurityOptions;
use crate::signals::Signals;
use clap::Args;
use dpfw::{LinkedSlave, Master, Namespace, Security};
use std::time::Duration;

/// Which slave.
#[derive(Args, Debug)]
#[command(next_help_heading = "The slave")]
pub(crate) struct There {
    /// Where the slave listens
    #[arg(long = "slave", value_name = "ADDR")]
    address: Address,
    /// How often it is dialled before it is given up, a second apart
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    dial_tries: u32,
    #[command(flatten)]
    security: SecurityOptions,
}

/// A master of one slave.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) master: Master,
    pub(crate) slave: LinkedSlave,
}

/// How an address is dialled.
#[derive(Clone, Debug)]
pub(crate) struct How {
    pub(crate) security: Security,
    pub(crate) tries: u32,
    pub(crate) namespace: Option<Namespace>,
}

/// How long a slave may take for an answer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// Links a slave.
///
/// # Errors
/// The [`Failure`] that it is not there.
pub(crate) async fn link(address: &Address, how: &How) -> Result<Link, Failure> {
    let master = Master::builder()
        .security(how.security.clone())
        .dial_tries(Some(how.tries))
        .namespace(how.namespace.clone())
        .slave(address.as_str())
        .build()
        .await?;
    let slave = master.slaves().pop();
    let gone = || Failure::new(Exit::Link, format!("{address}: the slave is gone again"));
    Ok(Link { slave: slave.ok_or_else(gone)?, master })
}

impl There {
    /// Links the slave, unless a signal comes first.
    ///
    /// # Errors
    /// The [`Failure`] that it is not there, or the signal's.
    pub(crate) async fn link(
        &self,
        namespace: Option<Namespace>,
        screen: &Screen,
        signals: &mut Signals,
    ) -> Result<Link, Failure> {
        let security = self.security.security(screen)?;
        let how = How { security, tries: self.dial_tries, namespace };
        tokio::select! {
            link = link(&self.address, &how) => link,
            exit = signals.next() => Err(Failure::new(exit, "no slave was linked yet")),
        }
    }

    pub(crate) fn address(&self) -> &Address {
        &self.address
    }
}
