//! `dpfw drain`: has a slave come to its end.

use crate::exit::{Exit, Failure};
use crate::json;
use crate::linked::{Link, PATIENCE, There};
use crate::master;
use crate::run::write;
use crate::screen::Screen;
use crate::signals::Signals;
use clap::Args;
use dpfw::{LinkLost, LinkedSlave};
use indicatif::ProgressBar;
use serde_json::json;
use std::time::Duration;

/// Has a slave drain and end, as it does on SIGTERM.
///
/// Nothing new is admitted there, what runs comes to its end, then the slave ends. What waits there goes to other slaves. How long it waits for what runs is said where the
/// slave is started (`dpfw slave --drain`).
#[derive(Args, Debug)]
#[command(after_help = crate::help::DRAIN)]
pub(crate) struct DrainCommand {
    /// Waits until the slave has ended, and tells what still runs
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    there: There,
}

/// How often a slave is asked what still runs.
const PAUSE: Duration = Duration::from_millis(500);

impl DrainCommand {
    /// Runs the command.
    ///
    /// # Errors
    /// A [`Failure`] with the exit code.
    pub(crate) async fn run(&self, screen: &Screen) -> Result<Exit, Failure> {
        let mut signals = Signals::new()?;
        let link = self.there.link(None, screen, &mut signals).await?;
        let Link { master, slave } = link;
        let outcome = tokio::select! {
            outcome = self.drain(&slave, screen) => outcome,
            exit = signals.next() => {
                Err(Failure::new(exit, "not waited for any longer; the slave goes on draining"))
            }
        };
        master::end(&master).await;
        outcome
    }

    async fn drain(&self, slave: &LinkedSlave, screen: &Screen) -> Result<Exit, Failure> {
        let silent = || {
            let text = format!("{} does not answer within {} s", slave, PATIENCE.as_secs());
            Failure::new(Exit::Link, text)
        };
        tokio::time::timeout(PATIENCE, slave.drain()).await.map_err(|_| silent())?.map_err(lost)?;
        let exit = self.say(slave, "draining", screen)?;
        if !self.wait || exit != Exit::Ok {
            return Ok(exit);
        }
        let progress = Progress::new(screen);
        tokio::select! {
            left = slave.left() => left.map_err(lost)?,
            () = progress.follow(slave) => {}
        }
        drop(progress);
        self.say(slave, "drained", screen)
    }

    fn say(&self, slave: &LinkedSlave, state: &str, screen: &Screen) -> Result<Exit, Failure> {
        let address = self.there.address().as_str();
        match screen.is_json() {
            true => write(&json::line(
                &json!({ "slave": address, "name": slave.name().as_str(), "state": state }),
            )?),
            false => write(format!("{} at {address}: {state}\n", slave.name()).as_bytes()),
        }
    }
}

fn lost(error: LinkLost) -> Failure {
    Failure::of(Exit::Link, &error).hint("`dpfw slaves --slave ADDR` shows whether it answers")
}

/// What still runs: a line in one place on a terminal, elsewhere a line for each change.
struct Progress<'a> {
    screen: &'a Screen,
    bar: Option<ProgressBar>,
}

impl<'a> Progress<'a> {
    fn new(screen: &'a Screen) -> Self {
        let bar = (Screen::is_terminal() && !screen.is_json()).then(ProgressBar::new_spinner);
        screen.set_bar(bar.clone());
        Self { screen, bar }
    }

    /// Tells what still runs, for as long as it is polled.
    async fn follow(&self, slave: &LinkedSlave) {
        let mut before = None;
        while let Ok(now) = slave.describe().await {
            if before.replace(now.running) != Some(now.running) {
                let (tasks, s) = if now.running == 1 { ("task", "s") } else { ("tasks", "") };
                self.tell(format!("{} {tasks} still run{s}", now.running));
            }
            tokio::time::sleep(PAUSE).await;
        }
        // The end of the link is told elsewhere.
        std::future::pending().await
    }

    fn tell(&self, text: String) {
        match &self.bar {
            Some(bar) => {
                bar.set_message(text);
                bar.tick();
            }
            None => self.screen.line(text),
        }
    }
}

impl Drop for Progress<'_> {
    fn drop(&mut self) {
        self.screen.set_bar(None);
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
