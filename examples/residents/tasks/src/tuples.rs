//! A table of values under values: the tuple server of Racket's distributed places.

use dpfw_guest::{Shape, resident};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What can be a key there, or under one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Shape)]
pub enum Value {
    /// Yes or no.
    Truth(bool),
    /// A number.
    Number(i64),
    /// A text.
    Text(String),
    /// Several values, which may be several again.
    List(Vec<Value>),
}

impl From<bool> for Value {
    fn from(truth: bool) -> Self {
        Self::Truth(truth)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

/// Keeps values under keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TupleServer {
    values: BTreeMap<Value, Value>,
}

#[resident]
impl TupleServer {
    /// One that keeps nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Keeps a value under a key, whatever was there, and gives it back.
    pub fn set(&mut self, key: Value, value: Value) -> Value {
        self.values.insert(key, value.clone());
        value
    }

    /// The value under a key.
    pub fn get(&self, key: Value) -> Option<Value> {
        self.values.get(&key).cloned()
    }

    /// Says hello in the log, for who does not wait for an answer.
    pub fn hello(&self) {
        log::info!("hello from the tuple server");
    }

    /// All that it keeps.
    pub fn save(&self) -> Vec<(Value, Value)> {
        self.values.clone().into_iter().collect()
    }

    /// One that keeps all of this.
    pub fn load(pairs: Vec<(Value, Value)>) -> Self {
        Self { values: pairs.into_iter().collect() }
    }
}
