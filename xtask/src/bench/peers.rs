//! dpfw beside its peers: one table, a file of lines, a picture.
//!
//! Owns: the order of things. Invariant: each line is in the file as soon as it is there, so
//! that a run that is ended in the middle has not been for nothing.

use super::line::Failure;
use super::record::Record;
use super::{Options, build, machine, measure, picture, rows, scripts, table};
use crate::command::target;
use anyhow::{Context, Result, ensure};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Measures or reads, prints the table, draws.
///
/// # Errors
/// Nothing could be measured, read or written; or, after all that, a script has failed.
pub(super) fn run(options: &Options) -> Result<()> {
    let scripts = match &options.peers {
        Some(directory) => scripts::find(directory, &options.only_peers)?,
        None => Vec::new(),
    };
    if options.plot.is_some() {
        picture::prepare()?;
    }
    let (runs, failures) = if options.from.is_empty() {
        let (run, failures) = measured(options, &scripts)?;
        (vec![run], failures)
    } else {
        let runs = options.from.iter().map(|path| Record::of_file(path));
        (runs.collect::<Result<Vec<_>>>()?, Vec::new())
    };
    let (rows, remarks) = rows::rows(&runs);
    print!("{}", table::render(&rows, &runs, &remarks, machine::columns()));
    if let Some(directory) = &options.plot {
        picture::write(directory.as_deref().unwrap_or(Path::new("docs")), &rows, &runs)?;
    }
    ensure!(failures.is_empty(), "scripts that failed: {}", failures.join(", "));
    Ok(())
}

/// Measures dpfw and peers. Gives what there is, and who failed.
fn measured(options: &Options, scripts: &[scripts::Script]) -> Result<(Record, Vec<String>)> {
    build()?;
    let head = machine::head();
    let path = match &options.out {
        Some(path) => path.clone(),
        None => default_out(&head.date)?,
    };
    let mut out = Out::create(&path, &head.date)?;
    out.add(&head.line())?;
    let mut written = Ok(());
    measure(&options.which, |line| {
        if written.is_ok() {
            written = out.add(line);
        }
    })?;
    written?;
    let mut failures = Vec::new();
    for script in scripts {
        let ended = script.run(options.which.rounds, |line| out.add(line))?;
        let scripts::Ended::Badly { why, peers } = ended else { continue };
        eprintln!("{}: {why}; the others go on", script.name);
        failures.push(format!("{} ({why})", script.name));
        for peer in peers {
            out.add(&Failure { peer, why: why.clone() }.line())?;
        }
    }
    eprintln!("the lines are in {}", path.display());
    Ok((out.record, failures))
}

/// A file for each run: none takes the place of another.
fn default_out(date: &str) -> Result<PathBuf> {
    Ok(target()?.join("bench").join(format!("{}.jsonl", date.replace(':', ""))))
}

/// The lines of this run, in a file and in memory.
struct Out {
    file: File,
    record: Record,
}

impl Out {
    fn create(path: &Path, date: &str) -> Result<Self> {
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory)
                .with_context(|| format!("{} cannot be made", directory.display()))?;
        }
        let file = File::create(path).with_context(|| {
            format!("the lines cannot be written to {}; name another with --out", path.display())
        })?;
        Ok(Self { file, record: Record::new("this run", date) })
    }

    /// Shows, writes and keeps a line.
    fn add(&mut self, line: &str) -> Result<()> {
        eprintln!("{line}");
        writeln!(self.file, "{line}").context("the lines cannot be written any more")?;
        self.record.add(line);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_in_the_file_as_they_are_in_the_record() {
        let path = target().expect("a target directory").join("tmp/peers/out/lines.jsonl");
        let mut out = Out::create(&path, "2026-01-02").expect("it can be made");
        let line = r#"{"metric":"x","unit":"us","min":1,"median":2,"max":3}"#;
        out.add(line).expect("it can be written");
        out.add(r#"{"peer":"a","metric":"x","value":1,"unit":"us"}"#).expect("it can be written");
        let read = Record::of_file(&path).expect("it is there");
        assert_eq!(read.summaries, out.record.summaries);
        assert_eq!(read.repetitions, out.record.repetitions);
        assert_eq!(read.name, "lines.jsonl");
    }

    #[test]
    fn each_run_has_a_file_of_its_own() {
        let path = default_out("2026-01-02T03:04:05Z").expect("a target directory");
        assert!(path.ends_with("bench/2026-01-02T030405Z.jsonl"), "{}", path.display());
    }
}
