//! `dpfw slave`: a slave as a process.

use crate::address::Address;
use crate::exit::{Exit, Failure};
use crate::grants;
use crate::run::output_failed;
use crate::screen::Screen;
use crate::security::SecurityOptions;
use crate::settings::{self, AuditOptions, LimitOptions, SlotOptions};
use crate::signals::Signals;
use crate::units::{Size, Span};
use clap::{Args, ValueEnum};
use dpfw::{Confine, Dial, DialError, Drained, PeerId, Slave, Unfinished};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::time::Duration;

/// Runs a slave until SIGINT or SIGTERM.
///
/// When it is ready, it prints `listening on ADDR` for each address that it listens on.
/// The first signal drains it: nothing new is admitted, what runs comes to its end. So does
/// `dpfw drain`. The second signal ends it at once.
#[derive(Args, Debug)]
#[command(after_help = crate::help::SLAVE)]
pub(crate) struct SlaveCommand {
    /// Listens for masters; port 0 takes a free one. May be given several times
    #[arg(long, value_name = "ADDR")]
    listen: Vec<Address>,
    /// Dials a master that listens, and again when the link is lost. May be given several
    /// times
    #[arg(long, value_name = "ADDR")]
    dial: Vec<Address>,
    /// How often in a row a master is dialled before it is given up, a second apart; for
    /// ever unless told
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    dial_tries: Option<u32>,
    /// The slave's name in logs and errors; one is made up unless told
    #[arg(long, value_name = "NAME", value_parser = name)]
    name: Option<PeerId>,
    /// A master that may drain the slave (`dpfw drain`) and reserve all of its slots, by the name
    /// in its certificate. May be given several times; without certificates every master may
    #[arg(long, value_name = "NAME", value_parser = name)]
    trust: Vec<PeerId>,
    /// How long a drain waits for what runs
    #[arg(long, value_name = "DURATION", default_value_t = Span(Duration::from_secs(30)))]
    drain: Span,
    /// Where the values of the keyed store are kept, and are there again after a restart; without
    /// it all is in memory. A directory of mode 0700, which no other slave may have meanwhile
    #[arg(long, value_name = "DIR", value_parser = store)]
    store: Option<PathBuf>,
    /// What guests are granted of the world outside, in TOML: variables, directories, connections,
    /// fixed clocks. Nothing unless told
    #[arg(long, value_name = "FILE")]
    grants: Option<PathBuf>,
    /// When modules are compiled in processes of their own, with limits on memory and processor
    /// time: from when the slave listens or dials beyond loopback, unless told
    #[arg(long, value_name = "WHEN", default_value = "beyond-loopback")]
    confine_compiling: When,
    #[command(flatten)]
    audit: AuditOptions,
    #[command(flatten)]
    security: SecurityOptions,
    #[command(flatten)]
    slots: SlotOptions,
    #[command(flatten)]
    limits: LimitOptions,
}

/// When compiling is confined.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum When {
    Always,
    Never,
    BeyondLoopback,
}

impl From<When> for Confine {
    fn from(when: When) -> Self {
        match when {
            When::Always => Self::Always,
            When::Never => Self::Never,
            When::BeyondLoopback => Self::BeyondLoopback,
        }
    }
}

/// A directory, and not the size that is another option's.
fn store(text: &str) -> Result<PathBuf, String> {
    match text.parse::<Size>() {
        Ok(_) => Err("it is a directory; the store's size is --store-bytes".into()),
        Err(_) => Ok(text.into()),
    }
}

fn name(text: &str) -> Result<PeerId, String> {
    PeerId::new(text).map_err(|e| e.to_string())
}

impl SlaveCommand {
    /// Runs the command.
    ///
    /// # Errors
    /// A [`Failure`] with the exit code.
    pub(crate) async fn run(&self, screen: &Screen) -> Result<Exit, Failure> {
        if self.listen.is_empty() && self.dial.is_empty() {
            return Err(Failure::usage(
                "the slave has no way to a master: let it listen for masters with --listen \
                 127.0.0.1:10000, or dial one that listens with --dial ADDR",
            ));
        }
        have_descriptors();
        // Before anybody is told that it is ready, so that a signal then drains.
        let mut signals = Signals::new()?;
        let security = self.security.security(screen)?;
        let mut builder =
            settings::slave(&self.slots, &self.limits).security(security).drain_limit(self.drain.0);
        builder = builder.trust(self.trust.clone());
        builder = builder.confine_compiling(self.confine_compiling.into());
        // Whether it was given a name or not: it is started again as it was.
        builder = builder.keep_image_names(true);
        if let Some(name) = &self.name {
            builder = builder.name(name.clone());
        }
        if let Some(directory) = &self.store {
            builder = builder.store(directory);
        }
        if let Some(file) = &self.grants {
            builder = builder.grants(grants::read(file)?);
        }
        if let Some(audit) = self.audit.audit() {
            builder = builder.audit(audit);
        }
        let slave = builder.build()?;
        if let Err(error) = self.listen(&slave, screen).await? {
            return output_failed(&error);
        }
        tokio::select! {
            exit = signals.next() => self.drain(&slave, exit, &mut signals, screen).await,
            // A master may ask for it as well.
            drained = slave.drained() => self.drained(drained),
            failure = self.dial(&slave, screen) => Err(failure),
        }
    }

    /// Listens, and says where, in one piece: whoever reads the first line may read no more.
    async fn listen(&self, slave: &Slave, screen: &Screen) -> Result<io::Result<()>, Failure> {
        let mut lines = String::new();
        for address in &self.listen {
            let address = slave.listen(address.as_str()).await?;
            // Writing to a text cannot fail.
            let _ = match screen.is_json() {
                true => writeln!(lines, "{{\"listening\":\"{address}\"}}"),
                false => writeln!(lines, "listening on {address}"),
            };
        }
        let mut stdout = io::stdout().lock();
        Ok(stdout.write_all(lines.as_bytes()).and_then(|()| stdout.flush()))
    }

    /// Dials for as long as there is a reason to live; then says why there is none.
    async fn dial(&self, slave: &Slave, screen: &Screen) -> Failure {
        let mut dials: FuturesUnordered<_> = self
            .dial
            .iter()
            .map(|address| {
                let mut dial = Dial::new(address.as_str());
                dial.tries = self.dial_tries;
                slave.dial_until(dial)
            })
            .collect();
        while let Some(ended) = dials.next().await {
            let Some(error) = ended else { continue };
            let is_last = dials.is_empty() && self.listen.is_empty();
            // What is not allowed or makes no sense ends it whatever else it does.
            if is_last || matches!(error, DialError::Address(_) | DialError::Security(_)) {
                return error.into();
            }
            screen.warn(error);
        }
        std::future::pending().await
    }

    async fn drain(
        &self,
        slave: &Slave,
        exit: Exit,
        signals: &mut Signals,
        screen: &Screen,
    ) -> Result<Exit, Failure> {
        tracing::info!(limit = %self.drain, by = ?exit, "draining; a second signal ends at once");
        tokio::select! {
            drained = slave.drain(self.drain.0) => self.drained(drained),
            exit = signals.next() => {
                screen.error("ended at once by a second signal; what still ran is not finished");
                // Guests that run are not waited for: the process ends with them.
                std::process::exit(exit.code().into());
            }
        }
    }

    fn drained(&self, drained: Drained) -> Result<Exit, Failure> {
        match drained {
            Drained::Clean => Ok(Exit::Ok),
            Drained::Interrupted(left) => {
                Err(Failure::new(Exit::Drain, unfinished(&left, self.drain)))
            }
        }
    }
}

/// As many as this process may have: links, modules and guests' files need one each, and what a
/// shell gives (1,024) is for programs that would look at all of them.
fn have_descriptors() {
    let most = getrlimit(Resource::Nofile).maximum;
    let limit = Rlimit { current: most, maximum: most };
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::debug!(%error, "the limit on descriptors stays as it is");
    }
}

fn unfinished(left: &[Unfinished], limit: Span) -> String {
    let (tasks, were) = if left.len() == 1 { ("task", "was") } else { ("tasks", "were") };
    let mut text = format!(
        "{} {tasks} still ran after {limit} and {were} interrupted; --drain gives more time",
        left.len()
    );
    for one in left.iter().take(NAMED) {
        // Writing to a text cannot fail.
        let _ = write!(text, "\n  {one}");
    }
    if left.len() > NAMED {
        let _ = write!(text, "\n  and {} more", left.len() - NAMED);
    }
    text
}

/// Interrupted tasks that an error names.
const NAMED: usize = 10;
