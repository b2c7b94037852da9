//! Peers' scripts: who is measured beside dpfw.
//!
//! Owns: finding and running them. Does not: know what they measure. Invariant: a script that
//! fails is told, and does not keep others from running.

use super::line::Line;
use crate::command::{each_line, shown};
use anyhow::{Context, Result, bail, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The script in a peer's folder.
const SCRIPT: &str = "run.sh";

/// How often a script measures, as it reads it.
const REPETITIONS: &str = "PEER_REPS";

/// A peer's script.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Script {
    /// The folder's name.
    pub(super) name: String,
    path: PathBuf,
}

/// How a script ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Well,
    /// Why nothing of it counts, and the names of the peers that it has printed.
    Badly {
        why: String,
        peers: Vec<String>,
    },
}

/// The scripts in a directory by their names, only some if these are named.
///
/// # Errors
/// There is no such directory, nothing in it, or not what is named.
pub(super) fn find(directory: &Path, only: &[String]) -> Result<Vec<Script>> {
    let shown = directory.display();
    let entries = std::fs::read_dir(directory).with_context(|| {
        format!("peers are looked for in {shown}: give a directory with a folder for each")
    })?;
    let mut scripts = Vec::new();
    for entry in entries {
        let folder = entry.with_context(|| format!("{shown} cannot be read"))?;
        let path = folder.path().join(SCRIPT);
        if path.is_file() {
            scripts.push(Script { name: folder.file_name().to_string_lossy().into_owned(), path });
        }
    }
    scripts.sort_by(|a, b| a.name.cmp(&b.name));
    ensure!(
        !scripts.is_empty(),
        "no folder of {shown} has a {SCRIPT}; each peer has one, which prints JSON lines"
    );
    let names: Vec<_> = scripts.iter().map(|script| script.name.clone()).collect();
    if let Some(unknown) = only.iter().find(|name| !names.contains(name)) {
        bail!("there is no {unknown}/{SCRIPT} in {shown}; there are: {}", names.join(", "));
    }
    scripts.retain(|script| only.is_empty() || only.contains(&script.name));
    Ok(scripts)
}

impl Script {
    /// Runs it; gives each line as it comes. What it says on stderr is shown.
    ///
    /// # Errors
    /// A line cannot be taken.
    pub(super) fn run(
        &self,
        repetitions: Option<usize>,
        mut take: impl FnMut(&str) -> Result<()>,
    ) -> Result<Ended> {
        let mut command = Command::new("bash");
        command.arg(&self.path);
        if let Some(repetitions) = repetitions {
            command.env(REPETITIONS, repetitions.to_string());
        }
        eprintln!("$ {}", shown(&command));
        let mut peers = Vec::new();
        let (mut taken, mut figures) = (Ok(()), 0);
        let status = each_line(&mut command, |line| {
            if let Some(Line::Repetition(it)) = Line::read(line) {
                figures += 1;
                if !peers.contains(&it.peer) {
                    peers.push(it.peer);
                }
            }
            if taken.is_ok() {
                taken = take(line);
            }
        });
        taken?;
        let why = match status {
            Err(error) => format!("{error:#}"),
            Ok(status) if status.success() && figures > 0 => return Ok(Ended::Well),
            Ok(status) if status.success() => "it printed no figure".to_owned(),
            Ok(status) => match status.code() {
                Some(code) => format!("exit code {code}"),
                None => status.to_string(),
            },
        };
        if peers.is_empty() {
            peers.push(self.name.clone());
        }
        Ok(Ended::Badly { why, peers })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::target;
    use std::fs;

    /// A directory with these scripts, in the target directory.
    fn directory(test: &str, scripts: &[(&str, &str)]) -> PathBuf {
        let directory = target().expect("a target directory").join("tmp/peers").join(test);
        for (name, script) in scripts {
            fs::create_dir_all(directory.join(name)).expect("it can be made");
            fs::write(directory.join(name).join(SCRIPT), script).expect("it can be written");
        }
        fs::create_dir_all(directory.join("lib")).expect("it can be made");
        directory
    }

    const LINE: &str = r#"{"peer":"a-b","metric":"x","value":1,"unit":"us"}"#;

    #[test]
    fn folders_with_a_script_are_peers() {
        let directory = directory("found", &[("b", ""), ("a", ""), ("c", "")]);
        let names = |only: &[&str]| {
            let only: Vec<_> = only.iter().map(ToString::to_string).collect();
            let found = find(&directory, &only);
            found.map(|it| it.into_iter().map(|script| script.name).collect::<Vec<_>>())
        };
        assert_eq!(names(&[]).expect("three"), ["a", "b", "c"]);
        assert_eq!(names(&["c", "a"]).expect("two"), ["a", "c"]);
        let error = names(&["d"]).expect_err("not there").to_string();
        assert!(error.contains("no d/run.sh") && error.ends_with("a, b, c"), "{error}");
    }

    #[test]
    fn what_is_no_directory_of_peers_is_told() {
        let error = find(Path::new("/nowhere/peers"), &[]).expect_err("not there");
        assert!(error.to_string().contains("/nowhere/peers: give a directory"), "{error}");
        let error = find(&directory("empty", &[]), &[]).expect_err("empty").to_string();
        assert!(error.contains("has a run.sh; each peer has one"), "{error}");
    }

    #[test]
    fn scripts_end_well_or_are_told_with_their_exit_code() {
        let well = format!("echo '{LINE}'; echo PEER_REPS=$PEER_REPS; echo noise >&2");
        let late = format!("echo '{LINE}'; exit 3");
        let scripts = [("badly", "exit 7"), ("late", &*late), ("silent", ""), ("well", &*well)];
        let scripts = find(&directory("ended", &scripts), &[]).expect("four");
        let mut lines = Vec::new();
        let ended: Vec<_> = scripts
            .iter()
            .map(|script| {
                let ended = script.run(Some(2), |line| {
                    lines.push(line.to_owned());
                    Ok(())
                });
                ended.expect("lines are taken")
            })
            .collect();
        let badly =
            |why: &str, peer: &str| Ended::Badly { why: why.into(), peers: vec![peer.into()] };
        assert_eq!(
            ended,
            [
                badly("exit code 7", "badly"),
                badly("exit code 3", "a-b"),
                badly("it printed no figure", "silent"),
                Ended::Well,
            ]
        );
        assert_eq!(lines, [LINE, LINE, "PEER_REPS=2"]);
    }
}
