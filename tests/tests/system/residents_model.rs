//! A resident against a model: calls, casts, failures, moves, stops and lost links in any order.
//! What was answered has happened, once and in order; what was not may have.

use anyhow::{Result, bail, ensure};
use dpfw::{CallHandle, Cast, Cause, Master, Resident, Restart, Saving};
use dpfw_test_tasks::{Counter, counter};
use dpfw_tests::fleet::{arrival, listening, master, slave};
use dpfw_tests::proxy::Proxy;
use dpfw_tests::wait::{until, within};
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use std::time::Duration;

#[derive(Clone, Copy, Debug)]
enum Op {
    Calls(u8),
    Casts(u8),
    Dropped(u8),
    Cancelled,
    Panic,
    Move,
    /// The link to the slave of that number is reset.
    Reset(u8),
    /// All that is under way is awaited.
    Settle,
    /// It is stopped, and spawned again.
    Again,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (1u8..20).prop_map(Op::Calls),
        3 => (1u8..10).prop_map(Op::Casts),
        2 => (1u8..5).prop_map(Op::Dropped),
        1 => Just(Op::Cancelled),
        2 => Just(Op::Panic),
        2 => Just(Op::Move),
        1 => (0u8..2).prop_map(Op::Reset),
        1 => Just(Op::Settle),
        1 => Just(Op::Again),
    ]
}

/// What is known of the resident.
struct Model {
    master: Master,
    proxies: [Proxy; 2],
    c: Resident<Counter>,
    calls: Vec<CallHandle<u64>>,
    casts: Vec<Cast>,
    /// Done for certain, and perhaps.
    done: u64,
    perhaps: u64,
    last: u64,
}

async fn spawn(master: &Master) -> Result<Resident<Counter>> {
    let policy = Restart::every(Duration::from_millis(1));
    let spawning = master.get_or_spawn("k", counter::new(0)).restart(policy);
    Ok(within("the resident", spawning.saving(Saving::EachCall).mailbox(8)).await??)
}

impl Model {
    async fn start() -> Result<(Self, [dpfw::Slave; 2])> {
        let (one, first) = listening(slave("s0", 1)?).await?;
        let (other, second) = listening(slave("s1", 1)?).await?;
        let proxies = [Proxy::before(&first)?, Proxy::before(&second)?];
        let master = master(&proxies.each_ref().map(Proxy::address)).await?;
        let c = spawn(&master).await?;
        let (calls, casts) = (Vec::new(), Vec::new());
        let this = Self { master, proxies, c, calls, casts, done: 0, perhaps: 0, last: 0 };
        Ok((this, [one, other]))
    }

    async fn apply(&mut self, op: Op) -> Result<()> {
        match op {
            Op::Calls(n) => {
                self.calls.extend((0..n).map(|_| self.c.call(counter::bump())));
            }
            Op::Casts(n) => self.casts.extend((0..n).map(|_| self.c.cast(counter::bump()))),
            Op::Dropped(n) => {
                (0..n).for_each(|_| drop(self.c.call(counter::bump())));
                self.perhaps += u64::from(n);
            }
            Op::Cancelled => {
                let call = self.c.call(counter::bump());
                call.cancel();
                self.calls.push(call);
            }
            Op::Panic => self.c.call(counter::bump_and_panic()).detach(),
            Op::Move => {
                let at = u8::from(self.c.slave().name().as_str() == "s0");
                let to = arrival(&self.master, &format!("s{at}")).await?;
                // It may fail where a link is lost in the middle of it, and is refused while the
                // resident is begun again after a panic; then it says so.
                if let Err(error) = within("the move", self.c.move_to(&to)).await? {
                    let said = matches!(
                        error.cause(),
                        Cause::ResidentLost { .. } | Cause::SlaveLost { .. } | Cause::Busy { .. }
                    );
                    ensure!(said, "the move: {error}");
                }
            }
            Op::Reset(at) => {
                self.settle().await?;
                self.proxies[usize::from(at % 2)].reset();
                self.come_back().await?;
            }
            Op::Settle => self.settle().await?,
            Op::Again => {
                self.settle().await?;
                within("the stop", self.c.stop()).await??;
                self.c = spawn(&self.master).await?;
                (self.done, self.perhaps, self.last) = (0, 0, 0);
            }
        }
        Ok(())
    }

    /// Waits until the links are there again.
    async fn come_back(&self) -> Result<()> {
        until("the resident to be reached", async || {
            let there = self.master.slaves().len() == 2;
            Ok(there && within("its count", self.c.call(counter::peek())).await?.is_ok())
        })
        .await
    }

    async fn settle(&mut self) -> Result<()> {
        for call in std::mem::take(&mut self.calls) {
            match within("a call", call).await? {
                Ok(number) => {
                    ensure!(number > self.last, "{number} came behind {}", self.last);
                    self.last = number;
                    self.done += 1;
                }
                Err(error) => self.failed(error.cause())?,
            }
        }
        for cast in std::mem::take(&mut self.casts) {
            match within("a cast", cast.done()).await? {
                Ok(()) => self.done += 1,
                Err(error) => self.failed(error.cause())?,
            }
        }
        let count = within("the count", self.c.call(counter::peek())).await??;
        let (least, most) = (self.done, self.done + self.perhaps);
        ensure!((least..=most).contains(&count), "{count} is not in {least}..={most}");
        ensure!(count >= self.last, "{count} is less than {}", self.last);
        Ok(())
    }

    fn failed(&mut self, cause: &Cause) -> Result<()> {
        match cause {
            Cause::ResidentLost { may_have_run: false, .. } => {}
            Cause::ResidentLost { .. } | Cause::Cancelled => self.perhaps += 1,
            cause => bail!("a call failed: {cause}"),
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn exactly_the_accepted_calls_happened_once_and_in_order(
        ops in prop::collection::vec(op(), 1..40),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let outcome = runtime.block_on(async {
            let (mut model, _slaves) = Model::start().await?;
            for op in ops {
                model.apply(op).await?;
            }
            model.settle().await
        });
        outcome.map_err(|error| TestCaseError::fail(format!("{error:#}")))?;
    }
}
