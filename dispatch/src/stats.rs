//! Counters of what was decided.

/// How the policy stands and what it has done since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Slaves linked.
    pub slaves: usize,
    /// Tasks that have not resolved.
    pub unresolved: usize,
    /// Of these, tasks that wait in the master.
    pub queued: usize,
    /// Tasks submitted.
    pub submitted: u64,
    /// Tasks resolved with a result.
    pub accepted: u64,
    /// Tasks resolved without.
    pub failed: u64,
    /// Attempts sent.
    pub sent: u64,
    /// Times that a task which was out had to wait again.
    pub retried: u64,
    /// Attempts asked back.
    pub recalled: u64,
    /// Of those sent, second attempts of tasks that were out already.
    pub hedged: u64,
    /// Attempts that slaves no longer held without having said how they ended.
    pub forgotten: u64,
    /// Attempts cancelled again, because slaves still held them though nobody wanted them.
    pub recancelled: u64,
    /// Late, doubled or unknown answers.
    pub stale: u64,
}
