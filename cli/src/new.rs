//! `dpfw new`: a crate of tasks and a master beside it, to begin with.
//!
//! Owns: the name, where dpfw comes from, the files. Does not: build anything. Invariant:
//! nothing that is there is written over; what is made builds and runs as it is.

use crate::exit::{Exit, Failure};
use crate::json;
use crate::run::write;
use crate::screen::Screen;
use clap::Args;
use serde_json::json;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Makes a crate of tasks and a master beside it.
///
/// They build and run as they are: `cargo run` in the directory NAME.
#[derive(Args, Debug)]
#[command(after_help = crate::help::NEW)]
pub(crate) struct New {
    /// The name of the directory and of the master; the tasks are NAME-tasks
    name: String,
    /// Where dpfw comes from: a directory with its sources
    #[arg(long, value_name = "DIR", conflicts_with = "version")]
    path: Option<PathBuf>,
    /// Where dpfw comes from: this version, from the package registry
    #[arg(long, value_name = "VERSION")]
    version: Option<String>,
}

/// The files, with `{{name}}`, `{{crate}}`, `{{dpfw}}`, `{{guest}}` and `{{build}}` to be
/// filled in.
const FILES: [(&str, &str); 8] = [
    ("Cargo.toml", include_str!("new/workspace.toml")),
    (".gitignore", "target/\n"),
    ("README.md", include_str!("new/readme.md")),
    ("tasks/Cargo.toml", include_str!("new/tasks.toml")),
    ("tasks/build.rs", include_str!("new/tasks_build.rs")),
    ("tasks/src/lib.rs", include_str!("new/tasks_lib.rs")),
    ("master/Cargo.toml", include_str!("new/master.toml")),
    ("master/src/main.rs", include_str!("new/master_main.rs")),
];

impl New {
    /// Runs the command.
    ///
    /// # Errors
    /// A [`Failure`]; then nothing is left behind.
    pub(crate) fn run(&self, screen: &Screen) -> Result<Exit, Failure> {
        check(&self.name)?;
        let source = self.source()?;
        let root = PathBuf::from(&self.name);
        let failed = |error: &io::Error| {
            let text = match error.kind() {
                io::ErrorKind::AlreadyExists => format!("`{}` is there already", self.name),
                _ => format!("`{}` cannot be made: {error}", self.name),
            };
            Failure::usage(text)
        };
        fs::create_dir(&root).map_err(|e| failed(&e).hint("choose another name, or remove it"))?;
        if let Err(error) = self.fill(&root, &source) {
            // It was made a moment ago, and holds nothing else.
            let _ = fs::remove_dir_all(&root);
            return Err(failed(&error));
        }
        if screen.is_json() {
            let files = FILES.map(|(file, _)| file);
            return write(&json::line(&json!({ "directory": self.name, "files": files }))?);
        }
        let (name, width) = (&self.name, FILES.iter().map(|(file, _)| file.len()).max());
        let width = name.len() + 1 + width.unwrap_or(0);
        let say =
            |file: &str, what: &str| format!("{:<width$}  {what}\n", format!("{name}/{file}"));
        let text = say("tasks/src/lib.rs", "the tasks")
            + &say("master/src/main.rs", "the master that dispatches them")
            + &format!("run it with: cd {name} && cargo run\n");
        write(text.as_bytes())
    }

    fn fill(&self, root: &Path, source: &Source) -> io::Result<()> {
        for (file, template) in FILES {
            let text = template
                .replace("{{name}}", &self.name)
                .replace("{{crate}}", &self.name.replace('-', "_"))
                .replace("{{dpfw}}", &source.of("dpfw"))
                .replace("{{guest}}", &source.of("guest-sdk"))
                .replace("{{build}}", &source.of("guest-sdk/build"));
            let path = root.join(file);
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent)?;
            }
            fs::write(path, text)?;
        }
        Ok(())
    }

    fn source(&self) -> Result<Source, Failure> {
        match (&self.path, &self.version) {
            (Some(path), _) => {
                let bad = || Failure::usage(format!("{} has not the sources of dpfw", path.display()))
                    .hint("--path takes the directory that has dpfw/Cargo.toml and guest-sdk/Cargo.toml");
                let path = path.canonicalize().map_err(|_| bad())?;
                let has = |part: &str| path.join(part).join("Cargo.toml").exists();
                if !["dpfw", "guest-sdk", "guest-sdk/build"].into_iter().all(has) {
                    return Err(bad());
                }
                Ok(Source::Path(path))
            }
            (None, Some(version)) => Ok(Source::Version(checked(version)?)),
            (None, None) => Err(Failure::usage("it is not said where dpfw comes from").hint(
                "--path DIR takes a directory with its sources, --version VERSION the package registry",
            )),
        }
    }
}

/// Where dpfw comes from.
#[derive(Debug)]
enum Source {
    Path(PathBuf),
    Version(String),
}

impl Source {
    /// What a Cargo.toml says of a part of dpfw.
    fn of(&self, part: &str) -> String {
        match self {
            // A TOML text is escaped as a JSON one is.
            Self::Path(path) => {
                let path = json!(path.join(part).display().to_string());
                format!("{{ path = {path} }}")
            }
            Self::Version(version) => format!("\"{version}\""),
        }
    }
}

fn checked(version: &str) -> Result<String, Failure> {
    let is_one = version.starts_with(|c: char| c.is_ascii_digit())
        && version.chars().all(|c| c.is_ascii_alphanumeric() || ".-+".contains(c));
    match is_one {
        true => Ok(version.to_owned()),
        false => Err(Failure::usage(format!("`{version}` is no version"))
            .hint("write for instance 0.1 or 0.1.0")),
    }
}

/// Names that cargo or the master's own dependencies have.
const TAKEN: [&str; 12] = [
    "alloc",
    "anyhow",
    "build",
    "core",
    "deps",
    "dpfw",
    "dpfw-guest",
    "examples",
    "incremental",
    "std",
    "test",
    "tokio",
];

fn check(name: &str) -> Result<(), Failure> {
    let bad = |why: &str| {
        Failure::usage(format!("`{name}` is no name for it: {why}"))
            .hint("a name is of letters a to z, digits, - and _, and begins with a letter")
    };
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    if !name.starts_with(|c: char| c.is_ascii_lowercase()) {
        return Err(bad("it has to begin with a letter a to z"));
    }
    if let Some(c) = name.chars().find(|c| !is_plain(*c)) {
        return Err(bad(&format!("it has {c:?} in it")));
    }
    if name.len() > 64 {
        return Err(bad("it is longer than 64 letters"));
    }
    match TAKEN.contains(&name) {
        true => Err(bad("it is taken")),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_cargo_takes() {
        for good in ["sums", "a", "word-count_2"] {
            assert!(check(good).is_ok(), "{good}");
        }
        for bad in ["", "2", "Sums", "a b", "a/b", "..", "test", "dpfw", &"x".repeat(65)] {
            assert!(check(bad).is_err(), "{bad}");
        }
        for bad in ["", "*", "0.1\"", "v1"] {
            assert!(checked(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn dpfw_comes_from_a_path_or_a_version() {
        assert_eq!(Source::Path("/a \"b\"".into()).of("dpfw"), r#"{ path = "/a \"b\"/dpfw" }"#);
        assert_eq!(Source::Version("0.1".into()).of("dpfw"), "\"0.1\"");
    }
}
