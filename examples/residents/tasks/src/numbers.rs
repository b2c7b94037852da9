//! A generator: the next number, each time it is asked.
//!
//! What is a closure over a counter in the Scheme egg `dpfw`, kept in a slave's table.

use dpfw_guest::resident;

/// Gives 1, then 2, and so on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Generator {
    last: u64,
}

#[resident]
impl Generator {
    /// One that gives 1 first.
    pub fn new() -> Self {
        Self::default()
    }

    /// The next number.
    pub fn invoke(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// The last number that it gave.
    pub fn save(&self) -> u64 {
        self.last
    }

    /// One that goes on behind that number.
    pub fn load(last: u64) -> Self {
        Self { last }
    }
}
