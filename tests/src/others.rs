//! Programs of other authors, built natively and as WebAssembly.
//!
//! Owns: where they are, and running the native ones. Does not: build them; `cargo xtask
//! test` and `cargo xtask programs` do. Invariant: both builds are of the same version.

use anyhow::{Context, Result, ensure};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Which programs, and their versions; xtask reads the same file.
const LIST: &str = include_str!("../programs.txt");

/// A program in both builds.
#[derive(Clone, Debug)]
pub struct Program {
    /// Its name, which it is also started with: it says it when it complains.
    pub name: String,
    native: PathBuf,
    wasm: PathBuf,
}

impl Program {
    /// The program of that name in `tests/programs.txt`.
    ///
    /// # Errors
    /// It is not in the list, or not built; then the error says what builds it.
    pub fn named(name: &str) -> Result<Self> {
        let mut lines = LIST.lines().map(str::split_whitespace);
        let line =
            lines.find_map(|mut words| words.next().filter(|w| *w == name).zip(words.next()));
        let (name, version) = line.with_context(|| format!("programs.txt has no {name}"))?;
        let this = std::env::current_exe()?;
        // TARGET/debug/deps/system-HASH
        let target = this.ancestors().nth(3).context("this program is in no target directory")?;
        let root = target.join("dpfw-programs").join(format!("{name}-{version}"));
        let hint = || format!("{name} {version} is not built; do so with: cargo xtask programs");
        let native = only(&root.join("native/bin")).with_context(hint)?;
        let wasm = only(&root.join("wasm/bin")).with_context(hint)?;
        let name = wasm.file_stem().context("a program has a name")?;
        Ok(Self { name: name.to_string_lossy().into_owned(), native, wasm })
    }

    /// The module.
    ///
    /// # Errors
    /// What the system says.
    pub fn wasm(&self) -> Result<Vec<u8>> {
        std::fs::read(&self.wasm).with_context(|| format!("{} is unreadable", self.wasm.display()))
    }

    /// Runs it natively, with nothing in its environment but this, and waits for its end.
    ///
    /// # Errors
    /// What the system says.
    pub fn run_natively(
        &self,
        args: &[&str],
        env: &[(&str, &str)],
        input: &[u8],
    ) -> Result<Output> {
        let mut command = Command::new(&self.native);
        command.arg0(&self.name).args(args).env_clear().envs(env.iter().copied());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let stdin = child.stdin.take();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                // It may end without reading all.
                let _ = stdin.map(|mut stdin| stdin.write_all(input));
            });
            Ok(child.wait_with_output()?)
        })
    }
}

/// The only file of a directory: a package's program, which may have another name.
fn only(dir: &Path) -> Result<PathBuf> {
    let mut files = std::fs::read_dir(dir)
        .with_context(|| format!("{} is not there", dir.display()))?
        .map(|entry| Ok(entry?.path()));
    let file = files.next().with_context(|| format!("{} is empty", dir.display()))?;
    ensure!(files.next().is_none(), "{} has several files", dir.display());
    file
}
