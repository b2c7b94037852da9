//! What compiling is, in whichever process.
//!
//! Invariant: what comes out follows from the wasm, the limits and the configuration, so it is the
//! same wherever it is done.

use crate::engine::Engines;
use crate::limits::Limits;
use crate::module::warm::{First, Warmed, warm};
use crate::scarce;
use dpfw_protocol::error::Cause;
use serde::{Deserialize, Serialize};
use wasmtime::Engine;

/// What is to be compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::module) enum Make {
    /// A module, which is warmed first.
    Module(First),
    /// A module, so that one of its inits can be run.
    Init,
    /// An image.
    Image,
}

/// What came of it.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::module) struct Compiled {
    /// To be mapped.
    pub(in crate::module) code: Vec<u8>,
    /// Why it is not warmed, if it cannot be.
    pub(in crate::module) cold: Option<String>,
}

impl Make {
    /// Does it, in this process; calls `warmed` when all guests have run, with the bytes of what is
    /// compiled then.
    ///
    /// # Errors
    /// The [`Cause`] with which it is refused.
    pub(in crate::module) fn here(
        self,
        engines: &Engines,
        limits: &Limits,
        wasm: &[u8],
        warmed: impl FnOnce(usize),
    ) -> Result<Compiled, Cause> {
        let plain = |engine: Engine| Ok(Compiled { code: compile(&engine, wasm)?, cold: None });
        let first = match self {
            Self::Init => return plain(engines.on_demand()?),
            Self::Image => return plain(engines.of_images()?),
            Self::Module(first) => first,
        };
        let (snapshot, cold) = match warm(engines, wasm, first, limits)? {
            Warmed::Snapshot(snapshot) => (Some(snapshot), None),
            Warmed::Nothing => (None, None),
            Warmed::Not(why) => (None, Some(why)),
        };
        let wasm = snapshot.as_deref().unwrap_or(wasm);
        warmed(wasm.len());
        Ok(Compiled { code: compile(&engines.on_demand()?, wasm)?, cold })
    }
}

fn compile(engine: &Engine, wasm: &[u8]) -> Result<Vec<u8>, Cause> {
    engine.precompile_module(wasm).map_err(|error| match scarce::is_scarce(&error) {
        true => scarce::cause("it does not compile", &error),
        false => Cause::Rejected { reason: format!("it does not compile: {error:#}") },
    })
}
