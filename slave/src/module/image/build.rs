//! Building an image: the init is run, the memory is taken, and what starts from it compiled.
//!
//! Invariant: an image follows from its module and the init's arguments. So an init sees
//! nothing of the store; clocks and randomness it may have, and then two images of one recipe
//! may differ.

use super::turn::{Turn, Turns};
use super::{ImageFacts, Source};
use crate::engine::Engines;
use crate::grants::Grant;
use crate::limits::{Granted, Limits};
use crate::module::cache::{Artifact, Cache, Label};
use crate::module::code::CodeId;
use crate::module::compile::Clock;
use crate::module::confine::Place;
use crate::module::confine::make::Make;
use crate::module::facts::Facts;
use crate::module::globals;
use crate::module::snapshot::{Takeable, contained};
use crate::module::warm::Bell;
use crate::sandbox::host::{Allowance, Holder, Host, Lent};
use crate::sandbox::imports;
use crate::sandbox::prepared::{Prepared, with_linker};
use crate::sandbox::run::put::Args;
use crate::sandbox::run::{Ended, Sandbox};
use crate::session::Session;
use crate::slot::micros;
use crate::watch::Watch;
use crate::{core::Core, raw, scarce};
use dpfw_protocol::error::{Cause, Limit};
use dpfw_protocol::ids::{AttemptId, ImageId, ModuleHash};
use dpfw_protocol::message::Origin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use wasmtime::{Engine, Module};

/// What it takes to make images.
pub(in crate::module) struct Builder<'a> {
    pub(in crate::module) engines: &'a Engines,
    pub(in crate::module) limits: &'a Limits,
    pub(in crate::module) cache: &'a Cache,
    pub(in crate::module) place: Place<'a>,
    pub(in crate::module) core: Arc<Core>,
    pub(in crate::module) clock: &'a Clock,
    pub(in crate::module) turns: &'a Arc<Turns>,
    /// In whose name an init logs.
    pub(in crate::module) session: &'a Arc<Session>,
    pub(in crate::module) attempt: AttemptId,
}

/// The memory after an init.
struct Initialised {
    snapshot: Vec<u8>,
    memory: u64,
    took: Duration,
    /// Until what starts from it is compiled.
    turn: Turn,
}

/// What making an image takes at its height, by its memory. It is held three times, when it is
/// taken and when it is compiled: what was read or is read from, what is put together of it,
/// and what comes out. An init's own instance is gone before.
const COPIES: u64 = 3;

impl Builder<'_> {
    /// Makes an image of a recipe, or takes one that was sent.
    ///
    /// # Errors
    /// The [`Cause`] that those who wait for it get.
    pub(in crate::module) fn make(&self, code: CodeId, source: &Source) -> Result<Artifact, Cause> {
        let started = Instant::now();
        let made = match source {
            Source::Module(_) => {
                return Err(Cause::Internal { message: "a module is no image".into() });
            }
            Source::Recipe { id, init, wasm, args } => self.build(code, *id, init, wasm, args),
            Source::Snapshot { id, module, init, wasm, init_us } => {
                let image = ImageFacts {
                    id: *id,
                    module: *module,
                    init: init.clone(),
                    origin: Origin::Sent,
                    hash: ModuleHash::of(wasm),
                    snapshot: wasm.len() as u64,
                    memory: 0,
                    init_us: *init_us,
                };
                self.take(image, wasm)
            }
        };
        if let Ok(Artifact { image: Some(image), .. }) = &made {
            let (elapsed, init) = (started.elapsed(), &image.init);
            let ImageFacts { id, memory, origin, .. } = image;
            tracing::info!(image = %id, init, memory, ?origin, ?elapsed, "an image is ready");
        }
        made
    }

    fn build(
        &self,
        code: CodeId,
        id: ImageId,
        init: &str,
        wasm: &[u8],
        args: &[u8],
    ) -> Result<Artifact, Cause> {
        let mut facts = Facts::of(wasm, self.limits)?;
        imports::check(&facts)?;
        if facts.inits.binary_search_by(|known| known.as_str().cmp(init)).is_err() {
            let known = facts.inits.iter().take(20).cloned().collect::<Vec<_>>();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            let message = format!("the module has no init of this name; it has {known}");
            return Err(failed(init, message));
        }
        let exported = globals::exported(wasm);
        let made_of = exported.as_deref().unwrap_or(wasm);
        let hash = ModuleHash::of(wasm);
        let Initialised { snapshot, memory, took, turn } =
            self.initialise(init, hash, made_of, &facts, args)?;
        let image = ImageFacts {
            id,
            module: hash,
            init: init.to_owned(),
            origin: Origin::Built,
            hash: ModuleHash::of(&snapshot),
            snapshot: snapshot.len() as u64,
            memory,
            init_us: micros(took),
        };
        facts.memory = memory;
        let compiled = self.compile(&snapshot)?;
        let label = Label::new(facts, true, Some(image));
        let stored = self.cache.put(code, label, &compiled, Some(snapshot));
        drop(turn);
        stored.map_err(not_kept)
    }

    /// Takes an image that was made elsewhere. It is a module like any other, and held against
    /// what an image may be.
    fn take(&self, image: ImageFacts, wasm: &[u8]) -> Result<Artifact, Cause> {
        let facts = Facts::of(wasm, &self.limits.of_images())?;
        imports::check(&facts)?;
        let image = ImageFacts { memory: facts.memory, ..image };
        let _turn = self.turn(facts.memory)?;
        let compiled = self.compile(wasm)?;
        // The sender's word is not kept for another day.
        self.cache.borrow(Label::new(facts, true, Some(image)), &compiled).map_err(not_kept)
    }

    /// Runs the init in a sandbox of its own and takes its memory.
    fn initialise(
        &self,
        init: &str,
        hash: ModuleHash,
        wasm: &[u8],
        facts: &Facts,
        args: &[u8],
    ) -> Result<Initialised, Cause> {
        let unfit = |why: String| {
            failed(init, format!("the memory of its module cannot be taken as an image: {why}"))
        };
        let takeable = contained("preparing it", || Takeable::new(wasm)).map_err(unfit)?;
        let (engine, linker) = with_linker(self.engines.on_demand()?)?;
        let module = self.module(&engine, facts, &takeable.wasm).map_err(|cause| match cause {
            Cause::Rejected { reason } => unfit(reason),
            other => other,
        })?;
        let prepared = Arc::new(Prepared::of_init(&engine, &linker, &module, init)?);
        let watch = Arc::new(Watch::default());
        let time = self.limits.image_time;
        watch.enter(self.session, self.attempt, &engine, Instant::now(), None, time);
        let its_watch = Arc::clone(&watch);
        self.clock.on_stop(move || {
            // If nothing runs any more there is nothing to stop.
            let _ = its_watch.shut_down();
        });
        let bell = {
            let watch = Arc::clone(&watch);
            Bell::ring_after(time, move || watch.expire())
        };
        let begun = Instant::now();
        let holder = Holder::Slot(Arc::clone(&watch));
        let lent = Arc::new(Lent { core: Arc::clone(&self.core), holder });
        let grant = self.core.grants.of_init(hash);
        let ran = self.run(&prepared, &lent, &watch, grant.as_ref(), args);
        drop(bell);
        watch.leave();
        let took = begun.elapsed();
        let sandbox = ran.map_err(|cause| self.explained(init, cause))?;
        let memory = sandbox.memory_bytes();
        let turn = self.turn(memory)?;
        let snapshot = contained("taking it", || sandbox.taken(&takeable)).map_err(unfit)?;
        Ok(Initialised { snapshot, memory, took, turn })
    }

    /// A module whose init can be called. Its code is mapped like that of any other, from a file
    /// that is gone with it.
    fn module(&self, engine: &Engine, facts: &Facts, wasm: &[u8]) -> Result<Module, Cause> {
        let code = self.place.make(Make::Init, self.engines, self.limits, wasm)?.code;
        let label = Label::new(facts.clone(), false, None);
        let artifact = self.cache.borrow(label, &code).map_err(not_kept)?;
        raw::map(engine, &artifact)
            .map_err(|error| scarce::cause("the init's module cannot be mapped", &error))
    }

    /// Calls the init; gives the sandbox in which it was.
    fn run(
        &self,
        prepared: &Arc<Prepared>,
        lent: &Arc<Lent>,
        watch: &Watch,
        grant: Option<&Arc<Grant>>,
        args: &[u8],
    ) -> Result<Sandbox, Cause> {
        let granted = Granted { memory: self.limits.image_memory, ..self.limits.granted(None) };
        let host = Host::of_init(lent, self.session, self.attempt, Allowance::of(&granted));
        let host = host.granted(grant, &prepared.engine);
        let stop = || watch.stop_of();
        let mut sandbox = Sandbox::new(prepared, host, stop)?;
        let ended = sandbox.call(0, Args::Part(args));
        sandbox.finish();
        match ended {
            Ended::Returned(returned) => {
                sandbox.result(&returned).map(drop)?;
                Ok(sandbox)
            }
            Ended::Broken(error) => Err(sandbox.cause(&error, stop())),
            Ended::Refused(cause) => Err(cause),
        }
    }

    /// What a caller is told of an init that did not end well.
    fn explained(&self, init: &str, cause: Cause) -> Cause {
        match cause {
            Cause::Limit { limit: Limit::Memory, allowed } => {
                Cause::Limit { limit: Limit::ImageMemory, allowed }
            }
            Cause::Limit { limit: Limit::Time, allowed } => {
                Cause::Limit { limit: Limit::ImageTime, allowed }
            }
            Cause::Failed { message } => failed(init, message),
            Cause::Panic { .. } | Cause::Trap { .. } | Cause::GuestAbi { .. } => {
                failed(init, cause.to_string())
            }
            Cause::Cancelled | Cause::Draining => {
                Cause::Busy { what: "nobody waited for the image while it was built".into() }
            }
            other => other,
        }
    }

    /// Waits for what making an image of so much memory takes.
    fn turn(&self, memory: u64) -> Result<Turn, Cause> {
        self.turns.take(memory.saturating_mul(COPIES), self.clock)
    }

    fn compile(&self, snapshot: &[u8]) -> Result<Vec<u8>, Cause> {
        Ok(self.place.make(Make::Image, self.engines, self.limits, snapshot)?.code)
    }
}

fn not_kept(error: std::io::Error) -> Cause {
    scarce::cause_of_io("a compiled image cannot be kept", &error)
}

fn failed(init: &str, message: String) -> Cause {
    Cause::InitFailed { init: init.to_owned(), message }
}
