//! `dpfw image build`: runs an init, and keeps its memory.
//!
//! Invariant: every slave that is named builds the image itself. One that was sent serves its
//! sender's tasks alone, and the sender is gone when the command has ended.

use super::{bytes, micros, millis};
use crate::address::Address;
use crate::exit::{Exit, Failure};
use crate::json;
use crate::master;
use crate::module::{self, Function};
use crate::run::write;
use crate::screen::Screen;
use crate::security::SecurityOptions;
use crate::signals::Signals;
use crate::store::{failure, namespace};
use crate::table::{Align, table};
use crate::units::Span;
use clap::Args;
use dpfw::{Image, ImageAt, Init, Master, Namespace, TaskError, Transfer};
use serde_json::json;
use std::path::PathBuf;

/// Makes an image on every slave that is named: runs an init of a module, and keeps its memory
///
/// The slave keeps it under --name, or under a key of its own choice, which is printed. An image
/// of the same module, init and arguments that is there already is taken as it is.
#[derive(Args, Debug)]
pub(super) struct Build {
    /// A WebAssembly module, or its text (.wat)
    module: PathBuf,
    /// The name of one of its inits; `dpfw inspect` lists them
    init: String,
    /// The arguments as a JSON array, an element for each; none if left out; `-` reads
    /// them from standard input
    #[arg(value_name = "ARGS", allow_hyphen_values = true)]
    args: Option<String>,
    /// Keeps it under this key, in place of another image that is there
    #[arg(long, value_name = "KEY")]
    name: Option<String>,
    /// Runs the init again where it failed before
    #[arg(long)]
    afresh: bool,
    /// At most so long until it is ready
    #[arg(long, value_name = "DURATION")]
    timeout: Option<Span>,
    /// Where a slave listens. May be given several times
    #[arg(long = "slave", value_name = "ADDR", required = true, help_heading = "The slaves")]
    slaves: Vec<Address>,
    /// How often a slave is dialled before it is given up, a second apart
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "The slaves")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    dial_tries: u32,
    #[command(flatten)]
    security: SecurityOptions,
    /// The part of the store that the key is in: the only one that the certificate names, or
    /// `default`, unless given
    #[arg(long, value_name = "NAME", value_parser = namespace)]
    namespace: Option<Namespace>,
}

impl Build {
    /// Runs the command.
    ///
    /// # Errors
    /// A [`Failure`] with the exit code.
    pub(super) async fn run(&self, screen: &Screen) -> Result<Exit, Failure> {
        let mut signals = Signals::new()?;
        let init = module::load(&self.module)?.init(&self.init)?;
        let values = json::given(self.args.as_deref())?;
        let call = init.call(&values).map_err(|text| Failure::new(Exit::Call, text))?;
        let master = tokio::select! {
            master = self.master(screen) => master?,
            exit = signals.next() => return Err(Failure::new(exit, "no slave was linked yet")),
        };
        let outcome = tokio::select! {
            outcome = self.build(&master, Init::new(call.retype()), &init, screen) => outcome,
            exit = signals.next() => Err(master::cancelled(exit)),
        };
        master::end(&master).await;
        outcome
    }

    async fn master(&self, screen: &Screen) -> Result<Master, Failure> {
        let mut builder = Master::builder()
            .security(self.security.security(screen)?)
            .dial_tries(Some(self.dial_tries))
            .namespace(self.namespace.clone());
        for address in &self.slaves {
            builder = builder.slave(address.as_str());
        }
        Ok(builder.build().await?)
    }

    async fn build(
        &self,
        master: &Master,
        init: Init,
        function: &Function,
        screen: &Screen,
    ) -> Result<Exit, Failure> {
        let mut making = master.init(init).everywhere().transfer(Transfer::Never);
        if let Some(name) = &self.name {
            making = making.named(name);
        }
        if self.afresh {
            making = making.afresh();
        }
        if let Some(Span(timeout)) = self.timeout {
            making = making.timeout(timeout);
        }
        let image = making.await.map_err(|error| explained(function, &error))?;
        let mut at = image.places().await;
        at.sort_unstable_by(|a, b| a.slave.cmp(&b.slave));
        let mut keyed = Vec::new();
        for place in at {
            let key = self.key_at(master, &image, &place).await?;
            keyed.push((place, key));
        }
        write(&told(&image, &keyed, screen)?)
    }

    /// Under which key a slave has it.
    async fn key_at(
        &self,
        master: &Master,
        image: &Image,
        at: &ImageAt,
    ) -> Result<Option<String>, Failure> {
        if self.name.is_some() {
            return Ok(self.name.clone());
        }
        let slave = master.slaves().into_iter().find(|slave| *slave.name() == at.slave);
        let Some(slave) = slave else { return Ok(None) };
        let entries = slave.store().list("").await.map_err(|e| failure(&e))?;
        let mut found = super::images(&entries).filter(|(_, it)| it.id == image.id());
        Ok(found.next().map(|(entry, _)| entry.key.clone()))
    }
}

fn told(
    image: &Image,
    keyed: &[(ImageAt, Option<String>)],
    screen: &Screen,
) -> Result<Vec<u8>, Failure> {
    if screen.is_json() {
        let mut lines = Vec::new();
        for (at, key) in keyed {
            let line = json!({
                "slave": at.slave.as_str(), "key": key, "id": image.id().to_hex(),
                "init": image.init(), "module": image.module().to_hex(),
                "hash": at.hash.to_hex(), "memory_bytes": at.memory_bytes,
                "snapshot_bytes": at.snapshot_bytes, "origin": at.origin.as_str(),
                "init_us": micros(at.init), "took_us": micros(at.took),
            });
            lines.extend(json::line(&line)?);
        }
        return Ok(lines);
    }
    let head = ["SLAVE", "KEY", "ID", "CAME", "MEMORY", "INIT", "TOOK"].map(String::from);
    let row = |(at, key): &(ImageAt, Option<String>)| {
        let key = key.as_deref().unwrap_or_default();
        vec![
            at.slave.to_string(),
            crate::escape::line(key).to_string(),
            image.id().to_string(),
            at.origin.to_string(),
            bytes(at.memory_bytes),
            millis(at.init),
            millis(at.took),
        ]
    };
    let rows: Vec<_> = std::iter::once(head.into()).chain(keyed.iter().map(row)).collect();
    use Align::{Left, Right};
    Ok(table(&[Left, Left, Left, Left, Right, Right, Right], &rows).into_bytes())
}

fn explained(function: &Function, error: &TaskError) -> Failure {
    let failure = Failure::of_task(error);
    let frames = function.located(&failure.frames);
    Failure { text: failure.text + &function.hint(error.cause()), frames, ..failure }
}
