//! What can be set about the policy, each with the reason for its default.

use std::time::Duration;

/// The settings of a [`Core`](crate::Core).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// How often a task may be started before lost slaves end it. Three: one accident and
    /// one coincidence are survived, a pattern is reported.
    pub max_attempts: u32,
    /// How many deaths of slaves make a task poison; all but the first must have happened
    /// while it ran alone, two at the default of three, so that no bystander is blamed.
    pub poison_deaths: u32,
    /// How much measured work lies ready at each slot behind what it runs. 2 ms cover a
    /// round trip on a local network several times and cost little when it must be moved.
    pub queue_ahead: Duration,
    /// How many attempts lie ready at each slot at most, however short they are: 512 of
    /// 4 us cover the 2 ms.
    pub max_ahead_per_slot: u32,
    /// How often a task is tried again because slaves were busy. Ten: with the pauses
    /// below, a single slave has four seconds to find room.
    pub busy_retries: u32,
    /// How long a slave that said it was busy gets nothing new; doubled each time it says
    /// so again, reset when it ends a task. 10 ms: a sandbox is free sooner than that.
    pub busy_pause: Duration,
    /// The longest such pause: a person who frees the slave sees the effect at once.
    pub busy_pause_max: Duration,
    /// How long a slave that refused a reservation is not asked for another, so that
    /// a master does not ask in circles.
    pub refusal_pause: Duration,
    /// How long past its deadline a task that was started may stay unresolved. The slave
    /// enforces the deadline; this is for one that does not answer. 1 s: a loaded link
    /// has delivered by then.
    pub deadline_grace: Duration,
    /// How long calls that are pinned to a slave are held back while it is emptied for
    /// a suspect or a reservation. After that they go on: what runs there may depend on
    /// them.
    pub pinned_patience: Duration,
    /// The expected work at a slave, and the time without progress there, that are worth
    /// a recall, and the least time for which a task is out before it is tried a second time.
    /// 5 ms: less is done before the round trip is over.
    pub recall_worth: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_attempts: 3,
            poison_deaths: 3,
            queue_ahead: Duration::from_millis(2),
            max_ahead_per_slot: 512,
            busy_retries: 10,
            busy_pause: Duration::from_millis(10),
            busy_pause_max: Duration::from_secs(1),
            refusal_pause: Duration::from_millis(100),
            deadline_grace: Duration::from_secs(1),
            pinned_patience: Duration::from_secs(1),
            recall_worth: Duration::from_millis(5),
        }
    }
}
