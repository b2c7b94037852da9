//! Accounts with a balance: the bank server of Racket's distributed places.
//!
//! Owns: what is refused. A refusal is an answer and no error: the call went well, and who asked
//! is told what they may not do. Invariant: no balance is ever below zero, and what is refused
//! changes nothing.

use dpfw_guest::{Shape, resident};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What is said to who opens an account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Shape)]
pub enum Opened {
    /// There is one of that name now, with nothing in it.
    Created {
        /// Whose it is.
        who: String,
    },
    /// `already-exists`: there was one; it stays as it is.
    AlreadyExists,
}

/// What is said to who pays in, or takes out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Shape)]
pub enum Changed {
    /// It was done.
    Ok {
        /// What there is now.
        balance: u64,
    },
    /// `insufficient-funds`: there is less than was to be taken out.
    InsufficientFunds {
        /// What there is.
        balance: u64,
    },
    /// `invalid-account`: there is no such account.
    InvalidAccount {
        /// Whose it would be.
        who: String,
    },
    /// There would be more than can be counted.
    TooMuch {
        /// What there is.
        balance: u64,
    },
}

/// Keeps accounts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bank {
    accounts: BTreeMap<String, u64>,
}

#[resident]
impl Bank {
    /// One without accounts.
    pub fn new() -> Self {
        Self::default()
    }

    /// Opens an account.
    pub fn new_account(&mut self, who: String) -> Opened {
        if self.accounts.contains_key(&who) {
            return Opened::AlreadyExists;
        }
        self.accounts.insert(who.clone(), 0);
        Opened::Created { who }
    }

    /// Pays in.
    pub fn add(&mut self, who: String, amount: u64) -> Changed {
        let Some(balance) = self.accounts.get_mut(&who) else {
            return Changed::InvalidAccount { who };
        };
        match balance.checked_add(amount) {
            Some(more) => {
                *balance = more;
                Changed::Ok { balance: more }
            }
            None => Changed::TooMuch { balance: *balance },
        }
    }

    /// Takes out.
    pub fn remove(&mut self, who: String, amount: u64) -> Changed {
        let Some(balance) = self.accounts.get_mut(&who) else {
            return Changed::InvalidAccount { who };
        };
        match balance.checked_sub(amount) {
            Some(less) => {
                *balance = less;
                Changed::Ok { balance: less }
            }
            None => Changed::InsufficientFunds { balance: *balance },
        }
    }

    /// All accounts.
    pub fn save(&self) -> BTreeMap<String, u64> {
        self.accounts.clone()
    }

    /// One with all of these.
    pub fn load(accounts: BTreeMap<String, u64>) -> Self {
        Self { accounts }
    }
}
