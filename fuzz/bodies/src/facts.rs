//! What a module is, found out without compiling it.

use dpfw_protocol::module;
use dpfw_slave::{Facts, Limits};

/// Bytes of anybody's as a module. What is taken keeps the limits, and says of itself what
/// its sections say.
pub fn body(data: &[u8]) {
    let limits = Limits::default();
    let facts = Facts::of(data, &limits);
    let table = module::task_table(data);
    module::custom_sections(data).for_each(drop);
    let Ok(facts) = facts else { return };
    assert!(module::looks_like_wasm(data));
    assert!(facts.memory <= limits.memory, "more memory than is allowed");
    assert!(facts.functions.is_sorted());
    assert!(table.is_ok(), "a module is taken whose tasks cannot be read: {table:?}");
    assert_eq!(Ok(facts.table()), table.as_ref(), "the tasks are read in two ways");
}
