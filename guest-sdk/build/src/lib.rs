//! Compiles a tasks crate to WebAssembly.
//!
//! ```no_run
//! // build.rs of a tasks crate
//! fn main() {
//!     dpfw_guest_build::build();
//! }
//! ```
//!
//! Owns: the inner cargo, its environment, what makes a build script run again. Does not:
//! look into the module. Invariant: what the outer build was told (flags, wrappers,
//! targets, profiles) does not reach the inner one, so that a tasks crate's module is the
//! same whoever builds it.

#![forbid(unsafe_code)]
#![expect(clippy::needless_doctest_main, reason = "a build script has a `main`")]

mod cargo;
mod error;
mod script;
mod sources;

pub use error::Error;

use std::path::{Path, PathBuf};

/// What a task module is compiled for: `println!`, clocks and `HashMap` behave as in any
/// program.
pub const WASIP1: &str = "wasm32-wasip1";

/// Compiles the package of this build script and hands the module to
/// `dpfw_guest::module!()`, with the defaults of [`Build`].
///
/// When the package is itself being compiled to WebAssembly it does nothing.
pub fn build() {
    Build::new().run();
}

/// Compiles the tasks crate in a directory and gives the path of the module.
///
/// For programs and tests; a build script calls [`build`]. What the inner build makes is
/// kept beside it, so that a second call compiles only what changed.
///
/// ```no_run
/// use dpfw_guest_build::{Build, compile};
///
/// let wasm = compile("examples/quickstart/tasks", &Build::new())?;
/// println!("{}", wasm.display());
/// # Ok::<(), dpfw_guest_build::Error>(())
/// ```
///
/// # Errors
/// [`Error`], with what the compiler said.
pub fn compile(dir: impl AsRef<Path>, build: &Build) -> Result<PathBuf, Error> {
    cargo::compile(dir.as_ref(), build)
}

/// How a tasks crate is compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Build {
    target: String,
    target_dir: Option<PathBuf>,
    debug: bool,
    features: Option<Vec<String>>,
    rustflags: Vec<String>,
    loud: bool,
}

impl Default for Build {
    fn default() -> Self {
        Self::new()
    }
}

impl Build {
    /// A release build for [`WASIP1`] with the package's default features.
    pub const fn new() -> Self {
        Self {
            target: String::new(),
            target_dir: None,
            debug: false,
            features: None,
            rustflags: Vec::new(),
            loud: false,
        }
    }

    /// Compiles for another target: `wasm32-unknown-unknown` makes smaller modules, which
    /// have neither clocks nor randomness nor output.
    pub fn target(mut self, target: impl Into<String>) -> Self {
        self.target = target.into();
        self
    }

    /// Keeps debug information, so that backtraces have lines. The module becomes ten times
    /// as large: the standard library brings its own. Names of functions are there without
    /// it.
    pub fn debug(mut self, debug: bool) -> Self {
        self.debug = debug;
        self
    }

    /// Compiles with exactly these features instead of the default ones (a build script:
    /// instead of those that the outer build enables).
    pub fn features<S: Into<String>>(mut self, features: impl IntoIterator<Item = S>) -> Self {
        self.features = Some(features.into_iter().map(Into::into).collect());
        self
    }

    /// Adds a flag for rustc: `-Ctarget-feature=+simd128`. None is inherited.
    pub fn rustflag(mut self, flag: impl Into<String>) -> Self {
        self.rustflags.push(flag.into());
        self
    }

    /// Lets the inner cargo say on standard error what it does, as it does by itself; what it
    /// says of mistakes is then not part of the [`Error`].
    pub fn loud(mut self, loud: bool) -> Self {
        self.loud = loud;
        self
    }

    /// Where the inner build keeps what it makes: by default `target/dpfw-guest` in the
    /// package's directory, and in a build script a directory below `OUT_DIR`. Never the
    /// outer build's own, which it has locked.
    pub fn target_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.target_dir = Some(dir.into());
        self
    }

    /// Does what [`build`] does, in a build script.
    ///
    /// Mistakes in the crate's source do not fail the build script, because the host's
    /// compiler is about to report them in their places; those that only the inner build
    /// finds are reported by `dpfw_guest::module!()`, and `cargo check` only warns of them.
    /// Anything else, such as a target that is not installed, ends the build script with a
    /// message.
    pub fn run(self) {
        script::run(self);
    }

    fn triple(&self) -> &str {
        if self.target.is_empty() { WASIP1 } else { &self.target }
    }
}
