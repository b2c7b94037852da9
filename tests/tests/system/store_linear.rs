//! Tasks and masters at once on the same entries of a slave's store: there is an order in which
//! they could have been one after the other.
//!
//! Times are those of who asks: of a task's operations, its master's, from its dispatch to its
//! result; that they were done in turn is told to the search beside them. It is looked for key by
//! key (`dpfw_test_linear`).

use anyhow::{Result, ensure};
use dpfw::{Conditional, LinkedSlave, Master, Store};
use dpfw_test_linear::{Done, MOST, What, is_linear};
use dpfw_test_tasks::{Answered, Op, operate};
use dpfw_tests::fleet::{self, linked, listening, slave};
use dpfw_tests::wait::within;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// So few that they meet.
const KEYS: usize = 3;

/// Of each of the two masters: callers that ask the store themselves, and callers whose tasks do.
const DIRECT: usize = 2;
const BY_TASK: usize = 3;

/// What a caller does, and how much of it a task does at one go.
const OPERATIONS: usize = 12;
const IN_A_TASK: usize = 3;

const ROUNDS: usize = 20;

const _: () = assert!(2 * (DIRECT + BY_TASK) * OPERATIONS <= MOST, "they may all be of one key");

/// Which operation, and of which key.
type Program = Vec<(Op, usize)>;

fn programs() -> impl Strategy<Value = Vec<Program>> {
    let ops = [Op::Get, Op::Put(0), Op::PutIfAbsent(0), Op::Swap(0), Op::Swap(0), Op::Remove];
    let op = (prop::sample::select(ops.to_vec()), 0..KEYS);
    prop::collection::vec(prop::collection::vec(op, OPERATIONS), 2 * (DIRECT + BY_TASK))
}

/// What all callers of a round share.
struct Round {
    name: String,
    /// Of which each moment is another one; so is each value that is written.
    clock: AtomicU64,
    histories: Mutex<[Vec<Done>; KEYS]>,
}

impl Round {
    fn key(&self, place: usize) -> String {
        format!("{}/{place}", self.name)
    }

    fn now(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::SeqCst)
    }

    /// The operation with a value of its own.
    fn valued(&self, op: Op) -> Op {
        match op {
            Op::Put(_) => Op::Put(self.now()),
            Op::PutIfAbsent(_) => Op::PutIfAbsent(self.now()),
            Op::Swap(_) => Op::Swap(self.now()),
            other => other,
        }
    }

    /// Notes what was done in turn between two moments.
    fn note(&self, all: &[(Op, usize)], answers: &[Answered], began: u64, ended: u64) {
        let mut histories = self.histories.lock().unwrap_or_else(PoisonError::into_inner);
        let mut before = [None; KEYS];
        for ((op, place), answer) in all.iter().zip(answers) {
            let Answered { hit, version, value, expected } = *answer;
            let (what, value) = match *op {
                Op::Get => (What::Get, value),
                Op::Put(value) => (What::Write, value),
                Op::PutIfAbsent(value) => (What::WriteIf { expected: 0 }, value),
                Op::Swap(value) => (What::WriteIf { expected }, value),
                Op::Remove => (What::Remove, 0),
            };
            let history = &mut histories[*place];
            let behind = before[*place].replace(history.len());
            history.push(Done { what, hit, version, value, began, ended, behind });
        }
    }

    /// A caller that asks the store itself.
    async fn ask(&self, store: Store, program: Program) -> Result<()> {
        let mut seen = [0; KEYS];
        for (op, place) in program {
            let (op, expected) = (self.valued(op), seen[place]);
            let began = self.now();
            let answer = answered(&store, &self.key(place), op, expected).await?;
            let ended = self.now();
            seen[place] = answer.version.unwrap_or(expected);
            self.note(&[(op, place)], &[answer], began, ended);
        }
        Ok(())
    }

    /// A caller whose tasks do.
    async fn dispatch(&self, master: &Master, program: Program) -> Result<()> {
        let mut seen = [0; KEYS];
        for some in program.chunks(IN_A_TASK) {
            let some: Program = some.iter().map(|(op, key)| (self.valued(*op), *key)).collect();
            let all = some.iter().map(|(op, place)| (self.key(*place), *op, seen[*place]));
            let call = operate::call(all.collect());
            let began = self.now();
            let answers = master.dispatch(call).await?;
            let ended = self.now();
            for ((_, place), answer) in some.iter().zip(&answers) {
                seen[*place] = answer.version.unwrap_or(seen[*place]);
            }
            ensure!(answers.len() == some.len(), "{answers:?}");
            self.note(&some, &answers, began, ended);
        }
        Ok(())
    }
}

async fn answered(store: &Store, key: &str, op: Op, expected: u64) -> Result<Answered> {
    let conditional = |outcome: Conditional| match outcome {
        Conditional::Written(version) => (true, Some(version), 0),
        Conditional::Kept(version) => (false, Some(version), 0),
    };
    let (hit, version, value) = match op {
        Op::Get => match store.get_versioned::<u64>(key).await? {
            Some(stored) => (true, Some(stored.version), stored.value),
            None => (false, None, 0),
        },
        Op::Put(value) => (true, Some(store.put(key, &value).await?), 0),
        Op::PutIfAbsent(value) => conditional(store.put_if_absent_versioned(key, &value).await?),
        Op::Swap(value) => {
            conditional(store.compare_and_swap_versioned(key, expected, &value).await?)
        }
        Op::Remove => (store.remove(key).await?, None, 0),
    };
    Ok(Answered { hit, version, value, expected })
}

/// One round on keys of its own; the history of each.
async fn round(
    name: String,
    masters: &[(Master, LinkedSlave); 2],
    programs: Vec<Program>,
) -> Result<[Vec<Done>; KEYS]> {
    let (clock, histories) = (AtomicU64::new(1), Mutex::default());
    let round = &Round { name, clock, histories };
    let callers = programs.into_iter().enumerate().map(|(caller, program)| async move {
        let (master, at) = &masters[caller % 2];
        match caller / 2 < DIRECT {
            true => round.ask(at.store(), program).await,
            false => round.dispatch(master, program).await,
        }
    });
    within("all callers", futures_util::future::try_join_all(callers)).await??;
    let mut histories = round.histories.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(std::mem::take(&mut *histories))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operations_of_tasks_and_masters_on_a_key_are_linearisable() -> Result<()> {
    let (_slave, address) = listening(slave("s1", 2)?).await?;
    let link = async || -> Result<_> {
        let master = fleet::master(&[&address]).await?;
        let at = linked(&master, "s1")?;
        Ok((master, at))
    };
    let masters = [link().await?, link().await?];
    let mut runner = TestRunner::default();
    let mut outcomes = HashSet::new();
    for number in 0..ROUNDS {
        let programs = programs().new_tree(&mut runner).map_err(anyhow::Error::msg)?.current();
        let histories = round(format!("r{number}"), &masters, programs).await?;
        for (key, history) in histories.iter().enumerate() {
            ensure!(is_linear(history), "{key} has no such order: {history:#?}");
            outcomes.extend(history.iter().map(|it| (std::mem::discriminant(&it.what), it.hit)));
        }
    }
    // All that can be answered was, but for a write that fails.
    assert_eq!(outcomes.len(), 2 * 4 - 1);
    Ok(())
}
