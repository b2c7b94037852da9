//! Whether the simulation finds faults that were made.

use crate::mutation::{Mutation, is_any_active, mutate};
use crate::simulation::{anything, busy, drains, lies, poison};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

/// A fault that so many worlds of each kind do not show is not found.
const WORLDS: u64 = 60;

/// What a fault is looked for in, in turn.
const KINDS: &[fn(u64)] = &[
    |seed| drop(anything(seed)),
    poison,
    |seed| drop(anything(seed + WORLDS)),
    drains,
    lies,
    busy,
];

/// Panics are what is looked for here, and not printed.
fn hush() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !is_any_active() {
                before(info);
            }
        }));
    });
}

/// What the first world said that shows the fault, and how many did not.
fn hunt(mutation: Mutation) -> Option<(u64, String)> {
    let mut worlds = 0;
    for seed in 0..WORLDS {
        for run in KINDS {
            mutate(Some(mutation));
            let outcome = catch_unwind(AssertUnwindSafe(|| run(seed)));
            mutate(None);
            if let Err(panic) = outcome {
                let said = panic.downcast_ref::<String>().cloned();
                let said = said.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()));
                return Some((worlds, said.unwrap_or_default()));
            }
            worlds += 1;
        }
    }
    None
}

#[test]
fn every_fault_that_is_made_is_found() {
    hush();
    let mut missed = Vec::new();
    for mutation in Mutation::ALL {
        match hunt(*mutation) {
            Some((worlds, said)) => {
                let said: String =
                    said.lines().next().unwrap_or_default().chars().take(90).collect();
                println!("{mutation:?}: found after {worlds} worlds without it: {said}");
            }
            None => missed.push(mutation),
        }
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
}
