//! `dpfw resident list`: residents as a table, or as JSON.

use crate::escape;
use crate::exit::{Exit, Failure};
use crate::json;
use crate::run::write;
use crate::screen::Screen;
use crate::table::{Align, table};
use bytesize::ByteSize;
use dpfw::ResidentInfo;
use serde_json::{Value, json};
use std::time::Duration;

const HEAD: [&str; 9] =
    ["KEY", "CLASS", "SLAVE", "STAGE", "SERVED", "WAITING", "MEMORY", "AGE", "RESTARTS"];

const COLUMNS: [Align; 9] = {
    use Align::{Left, Right};
    [Left, Left, Left, Left, Right, Right, Right, Right, Right]
};

/// Prints residents in the order of their keys, those of one key in that of their slaves.
pub(super) fn list(mut residents: Vec<ResidentInfo>, screen: &Screen) -> Result<Exit, Failure> {
    let slave = |resident: &ResidentInfo| resident.slave.name().to_string();
    residents.sort_by_cached_key(|resident| (resident.key.clone(), slave(resident)));
    if screen.is_json() {
        let mut lines = Vec::new();
        for resident in &residents {
            lines.extend(json::line(&object(resident))?);
        }
        return write(&lines);
    }
    if residents.is_empty() {
        return Ok(Exit::Ok);
    }
    let rows = std::iter::once(HEAD.map(String::from).into());
    let rows: Vec<_> = rows.chain(residents.iter().map(row)).collect();
    write(table(&COLUMNS, &rows).as_bytes())
}

fn row(resident: &ResidentInfo) -> Vec<String> {
    let age = Duration::from_secs(resident.age.as_secs());
    vec![
        escape::line(&resident.key).to_string(),
        escape::line(&resident.class).to_string(),
        resident.slave.name().to_string(),
        resident.stage.to_string(),
        resident.served.to_string(),
        resident.waiting.to_string(),
        ByteSize(resident.memory_bytes).to_string(),
        humantime::format_duration(age).to_string(),
        resident.restarts.to_string(),
    ]
}

/// A resident as it is printed for programs.
pub(super) fn object(resident: &ResidentInfo) -> Value {
    json!({
        "key": resident.key, "class": resident.class, "module": resident.module.to_hex(),
        "slave": resident.slave.name().as_str(), "address": resident.slave.address(),
        "owner": resident.owner.as_str(), "stage": resident.stage.to_string(),
        "served": resident.served, "waiting": resident.waiting, "mailbox": resident.mailbox,
        "memory_bytes": resident.memory_bytes, "age_ms": resident.age.as_millis() as u64,
        "restarts": resident.restarts, "saves": resident.saves,
    })
}
