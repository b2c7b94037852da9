//! What a slave says that it holds, beside what the policy believes to be there.
//!
//! Owns: which attempts a slave has forgotten, and which it keeps though nobody wants them.
//! Does not: believe it at once. What a slave says crosses what it is told, so a difference
//! counts when two successive tellings have it. Invariant: nothing is out for ever because
//! one message was lost, a `DONE` or a `CANCEL` that a slave dropped within itself.
//!
//! Cost: one pass over two sorted lists; an attempt about which both agree costs no
//! allocation and no search.

use crate::core::{Core, Turn};
use crate::effect::{Again, Effect};
use crate::event::{Loss, SlaveId};
use crate::lost::is_bound;
use crate::slave::{Company, Sight, Slave};
use dpfw_protocol::error::Cause;
use dpfw_protocol::ids::AttemptId;

/// In what a slave and the policy differ, for the second time.
#[derive(Debug, Default)]
struct Differences {
    /// The policy believes them there, and they are not.
    forgotten: Vec<AttemptId>,
    /// They are there, and nobody wants them.
    unwanted: Vec<AttemptId>,
}

impl Core {
    /// A slave has taken in every attempt up to `upto` and holds exactly these of them.
    pub(crate) fn handle_holds(
        &mut self,
        turn: &mut Turn<'_>,
        id: SlaveId,
        upto: AttemptId,
        mut held: Vec<AttemptId>,
    ) {
        let Some(slave) = self.slaves.find_mut(id) else { return };
        if mutated!(HoldsIgnored) {
            return;
        }
        if !held.is_sorted() {
            held.sort_unstable();
        }
        held.dedup();
        let Differences { forgotten, unwanted } = compare(slave, upto, &held);
        let unwanted = if mutated!(NotCancelledAgain) { Vec::new() } else { unwanted };
        self.counted.recancelled += unwanted.len() as u64;
        turn.out.extend(unwanted.into_iter().map(|attempt| Effect::Cancel { slave: id, attempt }));
        // The last is put back first, so that they wait in order.
        for attempt in forgotten.into_iter().rev() {
            self.forget(turn, id, attempt);
        }
    }

    /// An attempt is not at its slave any more, which has not said how it ended.
    fn forget(&mut self, turn: &mut Turn<'_>, id: SlaveId, attempt: AttemptId) {
        let Some(sent) = self.take_out(turn, id, attempt) else { return };
        self.counted.forgotten += 1;
        let Some(task) = sent.task else { return };
        let bound = is_bound(&self.tasks, task);
        let over = match sent.company {
            // It was one of two, which count once, and have been counted.
            Company::Bereft => None,
            // Nobody died of it, so nobody is suspect.
            _ => self.tasks[task].record.lose(&self.config, Loss::Unreachable, false),
        };
        let over = over.filter(|_| !mutated!(ForgottenIsNoTry));
        let cause = match bound {
            true => Some(Cause::SlaveLost { may_have_run: true }),
            false => over,
        };
        match cause {
            Some(cause) => self.fail(turn, task, cause, Some(id)),
            None => self.again(turn, task, id, Again::Forgotten),
        }
    }
}

/// Compares a slave's account with what it holds, both in the order of their ids. What it
/// says beyond `upto`, or of attempts that it was never sent, is no news.
fn compare(slave: &mut Slave, upto: AttemptId, held: &[AttemptId]) -> Differences {
    let mut found = Differences::default();
    let upto = upto.min(slave.last_attempt());
    let before = std::mem::take(&mut slave.strays);
    let mut strays = Vec::new();
    let mut stray = |attempt: AttemptId| {
        strays.push(attempt);
        before.binary_search(&attempt).is_ok()
    };
    let mut held = held.iter().copied().take_while(|attempt| *attempt <= upto).peekable();
    for (attempt, sent) in slave.outs.range_mut(..=upto) {
        while let Some(unknown) = held.next_if(|held| held < attempt) {
            found.unwanted.extend(stray(unknown).then_some(unknown));
        }
        let is_held = held.next_if_eq(attempt).is_some();
        let now = match (is_held, sent.task) {
            (false, _) => Sight::Missed,
            (true, None) => Sight::Lingers,
            (true, Some(_)) => Sight::Agreed,
        };
        match (std::mem::replace(&mut sent.sight, now), now) {
            (Sight::Agreed, Sight::Missed) if mutated!(HoldsBelievedAtOnce) => {
                found.forgotten.push(*attempt);
            }
            (Sight::Missed, Sight::Missed) => found.forgotten.push(*attempt),
            (Sight::Lingers, Sight::Lingers) => found.unwanted.push(*attempt),
            _ => {}
        }
    }
    for unknown in held {
        found.unwanted.extend(stray(unknown).then_some(unknown));
    }
    slave.strays = strays;
    found
}

#[cfg(test)]
mod tests;
