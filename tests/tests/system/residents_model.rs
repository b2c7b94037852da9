//! A resident against a model: calls and casts of two masters, panics, traps, moves, stops, lost
//! links and killed slaves in any order, and all of that while calls are under way. What was
//! answered has happened, once and in order; what was not may have.

use anyhow::{Context, Result, bail, ensure};
use dpfw::{CallHandle, Cast, Cause, Master, Resident, Restart, Stage, TaskError};
use dpfw_test_tasks::{Counter, counter};
use dpfw_tests::fleet::{linked, master};
use dpfw_tests::process::Process;
use dpfw_tests::proxy::Proxy;
use dpfw_tests::wait::{until, within};
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;
use tokio::task::JoinHandle;

const SLAVE: &str = env!("CARGO_BIN_EXE_dpfw-test-slave");

/// The number of a master or of a slave: there are two of each.
type Which = usize;

#[derive(Clone, Copy, Debug)]
enum Op {
    Calls(Which, u8),
    Casts(Which, u8),
    Dropped(Which, u8),
    Cancelled(Which),
    Panic(Which),
    Trap(Which),
    /// This master has it moved to this slave; nobody waits for that.
    Move(Which, Which),
    /// The links to this slave are reset.
    Reset(Which),
    /// The process of this slave is killed, and begun again.
    Kill(Which),
    /// All that is under way is awaited.
    Settle,
    /// It is stopped by this master, and spawned again.
    Again(Which),
}

fn op() -> impl Strategy<Value = Op> {
    let which = || 0..2usize;
    prop_oneof![
        6 => (which(), 1u8..20).prop_map(|(m, n)| Op::Calls(m, n)),
        3 => (which(), 1u8..10).prop_map(|(m, n)| Op::Casts(m, n)),
        2 => (which(), 1u8..5).prop_map(|(m, n)| Op::Dropped(m, n)),
        1 => which().prop_map(Op::Cancelled),
        1 => which().prop_map(Op::Panic),
        1 => which().prop_map(Op::Trap),
        3 => (which(), which()).prop_map(|(m, s)| Op::Move(m, s)),
        2 => which().prop_map(Op::Reset),
        1 => which().prop_map(Op::Kill),
        1 => Just(Op::Settle),
        1 => which().prop_map(Op::Again),
    ]
}

/// What one master has under way.
struct Side {
    master: Master,
    c: Resident<Counter>,
    calls: Vec<CallHandle<u64>>,
    casts: Vec<Cast>,
    /// The last number that it was given.
    last: u64,
}

/// What is known of the resident.
struct Model {
    sides: [Side; 2],
    slaves: [Process; 2],
    proxies: [Proxy; 2],
    moves: Vec<JoinHandle<Result<(), TaskError>>>,
    /// Calls that fail.
    falls: Vec<CallHandle<()>>,
    /// The numbers that were given.
    given: BTreeSet<u64>,
    /// Done for certain, and perhaps.
    done: u64,
    perhaps: u64,
    directory: tempfile::TempDir,
}

fn name(slave: Which) -> String {
    format!("s{slave}")
}

async fn get(master: &Master) -> Result<Resident<Counter>, TaskError> {
    let policy = Restart::every(Duration::from_millis(1));
    let spawning = master.get_or_spawn("k", counter::new(0)).restart(policy);
    spawning.durable().mailbox(8).await
}

async fn slave(directory: &tempfile::TempDir, which: Which) -> Result<Process> {
    let store: PathBuf = directory.path().join(name(which));
    Process::keeping(SLAVE, &name(which), &store, None).await
}

impl Model {
    async fn start() -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let slaves = [slave(&directory, 0).await?, slave(&directory, 1).await?];
        let proxies = [Proxy::before(&slaves[0].address)?, Proxy::before(&slaves[1].address)?];
        let addresses = proxies.each_ref().map(Proxy::address);
        let side = async || {
            let master = master(&addresses).await?;
            let c = within("the resident", get(&master)).await??;
            let (calls, casts) = (Vec::new(), Vec::new());
            anyhow::Ok(Side { master, c, calls, casts, last: 0 })
        };
        let sides = [side().await?, side().await?];
        let (moves, falls, given) = (Vec::new(), Vec::new(), BTreeSet::new());
        let (done, perhaps) = (0, 0);
        Ok(Self { sides, slaves, proxies, moves, falls, given, done, perhaps, directory })
    }

    async fn apply(&mut self, op: Op) -> Result<()> {
        match op {
            Op::Calls(m, n) => {
                let Side { c, calls, .. } = &mut self.sides[m];
                calls.extend((0..n).map(|_| c.call(counter::bump())));
            }
            Op::Casts(m, n) => {
                let Side { c, casts, .. } = &mut self.sides[m];
                casts.extend((0..n).map(|_| c.cast(counter::bump())));
            }
            Op::Dropped(m, n) => {
                (0..n).for_each(|_| drop(self.sides[m].c.call(counter::bump())));
                self.perhaps += u64::from(n);
            }
            Op::Cancelled(m) => {
                let call = self.sides[m].c.call(counter::bump());
                call.cancel();
                self.sides[m].calls.push(call);
            }
            Op::Panic(m) => self.falls.push(self.sides[m].c.call(counter::bump_and_panic())),
            Op::Trap(m) => self.falls.push(self.sides[m].c.call(counter::bump_and_trap())),
            Op::Move(m, s) => {
                let Side { master, c, .. } = &self.sides[m];
                // Whether it goes is its own affair: links are lost, others move it or stop it.
                if let Ok(to) = linked(master, &name(s)) {
                    let c = c.clone();
                    self.moves.push(tokio::spawn(async move { c.move_to(&to).await }));
                }
            }
            Op::Reset(s) => self.proxies[s].reset(),
            Op::Kill(s) => {
                self.slaves[s].kill()?;
                self.slaves[s] = slave(&self.directory, s).await?;
                self.proxies[s].lead_to(&self.slaves[s].address)?;
                // Before another is: of two that were killed in moves both may have a state.
                self.reach().await?;
            }
            Op::Settle => self.settle().await?,
            Op::Again(m) => {
                self.reach().await?;
                let stopped = async || {
                    let stopped = within("the stop", self.sides[m].c.stop()).await?;
                    if stopped.is_err() {
                        self.links().await?;
                    }
                    Ok(stopped.is_ok())
                };
                until("it to be stopped", stopped).await?;
                self.answers().await?;
                ensure!(self.given.last().is_none_or(|last| *last <= self.done + self.perhaps));
                (self.given, self.done, self.perhaps) = (BTreeSet::new(), 0, 0);
                self.sides.iter_mut().for_each(|side| side.last = 0);
                self.reach().await?;
            }
        }
        Ok(())
    }

    /// Waits until all slaves are linked.
    async fn links(&self) -> Result<()> {
        until("the links", async || {
            Ok(self.sides.iter().all(|side| side.master.slaves().len() == 2))
        })
        .await
    }

    /// Waits until both masters reach it, whatever has become of it.
    async fn reach(&mut self) -> Result<()> {
        for moved in std::mem::take(&mut self.moves) {
            // It says so if it could not be done.
            let _ = within("a move", moved).await??;
        }
        for m in 0..self.sides.len() {
            until("it to be reached", async || {
                self.links().await?;
                let side = &mut self.sides[m];
                if within("its count", side.c.call(counter::peek())).await?.is_ok() {
                    return Ok(true);
                }
                match within("it", get(&side.master)).await? {
                    Ok(c) => side.c = c,
                    Err(error) => match error.cause() {
                        Cause::ResidentTwice { .. } => forget_asleep(&side.master).await?,
                        Cause::SlaveLost { .. } | Cause::Busy { .. } | Cause::KeyTaken { .. } => {}
                        cause => bail!("it is not found: {cause}"),
                    },
                }
                Ok(false)
            })
            .await?;
        }
        Ok(())
    }

    /// Waits for all that is under way.
    async fn answers(&mut self) -> Result<()> {
        for call in std::mem::take(&mut self.falls) {
            let Err(error) = within("a call that fails", call).await? else { bail!("it is well") };
            match error.cause() {
                Cause::Panic { .. } | Cause::Trap { .. } => {}
                cause => drop(perhaps(cause)?),
            }
        }
        for side in &mut self.sides {
            for call in std::mem::take(&mut side.calls) {
                match within("a call", call).await? {
                    Ok(number) => {
                        ensure!(number > side.last, "{number} came behind {}", side.last);
                        ensure!(self.given.insert(number), "{number} was given twice");
                        side.last = number;
                        self.done += 1;
                    }
                    Err(error) => self.perhaps += perhaps(error.cause())?,
                }
            }
            for cast in std::mem::take(&mut side.casts) {
                match within("a cast", cast.done()).await? {
                    Ok(()) => self.done += 1,
                    Err(error) => self.perhaps += perhaps(error.cause())?,
                }
            }
        }
        Ok(())
    }

    async fn settle(&mut self) -> Result<()> {
        self.answers().await?;
        self.reach().await?;
        for side in &self.sides {
            let count = within("the count", side.c.call(counter::peek())).await?;
            // A panic that nobody waits for may be before it, and a link may be lost by now.
            let Ok(count) = count else { continue };
            let (least, most) = (self.done, self.done + self.perhaps);
            ensure!((least..=most).contains(&count), "{count} is not in {least}..={most}");
            let last = self.given.last().copied().unwrap_or(0);
            ensure!(count >= last, "{count} is less than {last}");
        }
        Ok(())
    }
}

/// Whether a call that failed so may have happened.
fn perhaps(cause: &Cause) -> Result<u64> {
    match cause {
        Cause::ResidentLost { may_have_run, .. } => Ok(u64::from(*may_have_run)),
        Cause::Cancelled => Ok(1),
        // It has not run.
        Cause::ResidentEnded { .. } | Cause::ResidentMoved { .. } | Cause::NoResident { .. } => {
            Ok(0)
        }
        cause => bail!("a call failed: {cause}"),
    }
}

/// A kill in a move may leave its state where it was, which is older than the one that is alive.
async fn forget_asleep(master: &Master) -> Result<()> {
    // A link may be lost meanwhile; then it is tried again.
    let Ok(all) = master.residents("k").await else { return Ok(()) };
    let is_alive = all.iter().any(|info| info.stage != Stage::Asleep);
    let asleep = all.iter().find(|info| info.stage == Stage::Asleep);
    let asleep = asleep.context("there are two, and none is asleep")?;
    ensure!(is_alive, "two are asleep, and nobody knows which is older");
    let _ = asleep.slave.store().remove("k").await;
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 16,
        max_shrink_iters: 64,
        ..ProptestConfig::default()
    })]

    #[test]
    fn exactly_the_accepted_calls_happened_once_and_in_order(
        ops in prop::collection::vec(op(), 1..40),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let outcome = runtime.block_on(async {
            let mut model = Model::start().await?;
            for op in ops {
                model.apply(op).await?;
            }
            model.settle().await
        });
        outcome.map_err(|error| TestCaseError::fail(format!("{error:#}")))?;
    }
}
