//! Deliberate faults, for the simulation to find. Tests only: in any other build there is
//! no switch, and nothing to ask.
//!
//! A simulation that has never failed shows nothing. Each of these is one line of the policy,
//! or of a simulated slave, done wrong; each must be found.

/// Whether that fault is made.
#[cfg(test)]
macro_rules! mutated {
    ($name:ident) => {
        crate::mutation::is_active(crate::mutation::Mutation::$name)
    };
}

/// It never is.
#[cfg(not(test))]
macro_rules! mutated {
    ($name:ident) => {
        false
    };
}

#[cfg(test)]
pub(crate) use switch::*;

#[cfg(test)]
mod switch {
    use std::cell::Cell;

    macro_rules! mutations {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// A deliberate fault.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Mutation {
            $($(#[$doc])* $name,)*
        }

        impl Mutation {
            /// All of them.
            pub(crate) const ALL: &[Self] = &[$(Self::$name),*];
        }
    };
}

    mutations! {
        /// An attempt stays in the account when its result is accepted.
        ResultAcceptedTwice,
        /// The end of a superseded attempt resolves whatever has its task's place now.
        LateResultAccepted,
        /// A cancelled attempt leaves the account before its slave says so.
        SlotFreedEarly,
        /// A cancelled attempt never leaves it.
        SlotLeaked,
        /// The slave is not told of a cancelled task.
        CancelLost,
        /// What the slave says that it holds is not looked at.
        HoldsIgnored,
        /// What is absent once is taken for lost.
        HoldsBelievedAtOnce,
        /// What the slave forgot is taken for unstarted.
        ForgottenIsNoTry,
        /// What a slave holds though nobody wants it is left there.
        NotCancelledAgain,
        /// A suspect is sent to any slave with room.
        SuspectInCompany,
        /// A death makes nobody suspect.
        NobodySuspect,
        /// A task that runs once is tried again.
        OnceTriedAgain,
        /// A deadline sets no alarm.
        DeadlineForgotten,
        /// A deadline is forgotten when the task is out.
        DeadlineForgottenWhenOut,
        /// A reservation that is given up is not given back to the slave.
        ReservationNotReleased,
        /// A slave that another master holds is sent to.
        TakenIgnored,
        /// A slave that drains is sent to.
        DrainIgnored,
        /// An attempt that had not begun counts as a try.
        UnstartedCounted,
        /// An attempt that had begun does not count.
        StartedNotCounted,
        /// What is to be recalled is marked and not asked for.
        RecallForgotten,
        /// What a slave gives back stays nowhere.
        ReturnedTaskForgotten,
        /// The first task of a lost slave is forgotten.
        LostTaskForgotten,
        /// Poison is never declared.
        PoisonNeverDeclared,
        /// A slave that said it was busy is sent to at once, and never given up.
        BusyForEver,
        /// Slaves are believed to be asked for keys, and are not.
        LocateForgotten,
        /// The keys of a lost slave are believed to be there.
        LostKeysKept,
        /// What a slave has not got is sent there again.
        KeyGoneNotLearned,
        /// The slower of two attempts is not cancelled.
        LoserKept,
        /// A second attempt is sent where the first one is.
        HedgedAtSameSlave,
        /// One is sent of a task that has effects.
        HedgedWithEffects,
        /// One is sent of a task that slaves may die of.
        SuspectHedged,
        /// A death of one of two slaves ends their task.
        DeathOfOneFailsTask,
        /// It does not count when the other attempt is over as well.
        DeathOfOneForgotten,
        /// What one of two slaves gives back is queued, though the task is out at the other one.
        DropoutQueued,
        /// A simulated slave goes on with what a lost master has started.
        LostMasterRunsOn,
        /// A simulated slave keeps what a lost master has reserved.
        LostMasterKeepsSlave,
        /// A simulated slave ends what another session has started.
        CancelHitsOthers,
    }

    thread_local! {
        static ACTIVE: Cell<Option<Mutation>> = const { Cell::new(None) };
    }

    /// Whether that fault is made on this thread.
    pub(crate) fn is_active(mutation: Mutation) -> bool {
        ACTIVE.get() == Some(mutation)
    }

    /// Whether any is.
    pub(crate) fn is_any_active() -> bool {
        ACTIVE.get().is_some()
    }

    /// Makes a fault on this thread, or none.
    pub(crate) fn mutate(mutation: Option<Mutation>) {
        ACTIVE.set(mutation);
    }
}
