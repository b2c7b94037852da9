//! What to try when something failed, in one line each.
//!
//! Invariant: only what this program can do or show is advised.

use dpfw::store::EntryKind;
use dpfw::{Cause, DialError, Limit, Storage};

/// What to try when a task ended so.
pub(crate) fn on(cause: &Cause) -> Option<String> {
    let text = match cause {
        Cause::Limit { limit, .. } => return on_limit(limit),
        Cause::DeadlineExceeded => "--timeout gives it more time",
        Cause::Busy { .. } => "try it again later, or with more slaves (--slave)",
        Cause::ResidentEnded { .. } => {
            "`dpfw resident spawn --get` begins it, with what it saved if it did"
        }
        Cause::NoResident { .. } => "`dpfw resident list` shows which residents there are",
        Cause::ResidentTwice { .. } => "name the one slave that is meant (--slave)",
        Cause::ResidentMoved { .. } => "name that slave as well (--slave)",
        Cause::KeyTaken { kind: EntryKind::Resident, .. } => {
            "--get takes a resident that is there already, if it is of that class"
        }
        Cause::KeyTaken { .. } => "take another key, or `dpfw store remove` it first",
        Cause::ResidentRestarted { .. } => "the call has not run: try it again",
        Cause::KeyGone { .. } => "`dpfw store list` shows which keys a slave has",
        Cause::Storage { what: Storage::Absent } => "start it with `dpfw slave --store DIR`",
        Cause::Storage { what: Storage::Full } => {
            "make room on the slave's disk, or remove entries"
        }
        Cause::NeedsImage { .. } => {
            "`dpfw image build MODULE INIT --name KEY` makes one, `--image KEY` starts from it"
        }
        Cause::InitFailed { .. } => "`dpfw image build --afresh` runs the init again",
        Cause::ImageGone { .. } => "`dpfw image list` shows which images a slave has",
        Cause::NotAllowed { .. } => "`dpfw certs show` shows which role a certificate has",
        Cause::Draining => "try it with another slave (--slave)",
        Cause::NoSlaves
        | Cause::SlaveLost { .. }
        | Cause::ResidentLost { .. }
        | Cause::AttemptsExhausted { .. } => "`dpfw slaves --slave ADDR` shows which slaves answer",
        Cause::Rejected { .. } => "`dpfw inspect MODULE` shows what it asks for",
        Cause::Mismatch { .. } => "`dpfw inspect MODULE` shows its tasks, inits and residents",
        Cause::Internal { .. } => "this is a fault of dpfw, not of the task; -vv logs more of it",
        _ => return None,
    };
    Some(text.into())
}

/// The slave's option that moves a limit.
fn on_limit(limit: &Limit) -> Option<String> {
    let option = match limit {
        Limit::Memory => "--memory",
        Limit::Table => "--table",
        Limit::Result => "--result",
        Limit::Arguments => "--arguments",
        Limit::Time => "--time",
        Limit::Module => "--module-size",
        Limit::Functions => "--functions",
        Limit::Imports => "--imports",
        Limit::Exports => "--exports",
        Limit::Names => "--names",
        Limit::Section => "--section",
        Limit::Data => "--data",
        Limit::Log => "--log-bytes",
        Limit::Quota => "--store-bytes",
        Limit::Entries => "--store-entries",
        Limit::ImageTime => "--image-time",
        Limit::ImageMemory => "--image-memory",
        _ => return None,
    };
    Some(format!("the slave's {option} moves this limit"))
}

/// What to try when a slave cannot be dialled.
pub(crate) fn on_dial(error: &DialError) -> Option<String> {
    match error {
        DialError::Unreachable { address, .. } => {
            Some(format!("is a slave there? `dpfw slave --listen {address}` starts one"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn every_option_that_is_advised_exists() {
        let command = crate::Dpfw::command();
        let slave = command.find_subcommand("slave").expect("a command");
        let options: Vec<_> = slave.get_arguments().filter_map(|arg| arg.get_long()).collect();
        for limit in [
            Limit::Memory,
            Limit::Table,
            Limit::Result,
            Limit::Arguments,
            Limit::Time,
            Limit::Module,
            Limit::Functions,
            Limit::Imports,
            Limit::Exports,
            Limit::Names,
            Limit::Section,
            Limit::Data,
            Limit::Log,
            Limit::Quota,
            Limit::Entries,
            Limit::ImageTime,
            Limit::ImageMemory,
        ] {
            let advice = on_limit(&limit).expect("advice");
            assert!(options.iter().any(|name| advice.contains(&format!("--{name} "))), "{advice}");
        }
    }
}
