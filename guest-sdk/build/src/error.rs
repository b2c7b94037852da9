//! Why there is no module.

use std::fmt;
use std::path::PathBuf;

/// Why a tasks crate was not compiled.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The directory has no Cargo.toml.
    NoPackage {
        /// The directory.
        dir: PathBuf,
    },
    /// Cargo could not be started.
    NoCargo {
        /// What was to be started.
        program: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The toolchain has no standard library for the target.
    NoTarget {
        /// The target.
        target: String,
    },
    /// The crate does not compile.
    Failed {
        /// Its directory.
        dir: PathBuf,
        /// What the inner cargo said.
        stderr: String,
    },
    /// The inner build went well and made no module: the package has no library.
    NoModule {
        /// The directory.
        dir: PathBuf,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoPackage { dir } => write!(f, "there is no Cargo.toml in {}", dir.display()),
            Self::NoCargo { program, .. } => write!(f, "cannot start {}", program.display()),
            Self::NoTarget { target } => write!(
                f,
                "the target {target} is not installed, which tasks are compiled for; \
                 install it with: rustup target add {target}"
            ),
            Self::Failed { dir, stderr } => {
                write!(f, "the tasks in {} do not compile to wasm:\n{stderr}", dir.display())
            }
            Self::NoModule { dir } => {
                write!(f, "the package in {} has no library to compile to wasm", dir.display())
            }
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::NoCargo { source, .. } => Some(source),
            _ => None,
        }
    }
}
