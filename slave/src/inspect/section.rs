//! What is wrong with a module's description of its tasks.

use super::Problem;
use super::scan::Scan;
use crate::module::facts::Kind;
use dpfw_protocol::image::INIT_PREFIX;
use dpfw_protocol::signature::{EXPORT_PREFIX, SECTION, TableError, TaskTable};
use std::collections::BTreeSet;

/// What has to be another way; every line is looked at.
pub(super) fn problems(kind: Kind, scan: &Scan) -> Vec<Problem> {
    let Some(description) = &scan.description else {
        return Vec::new();
    };
    let Ok(text) = std::str::from_utf8(description) else {
        let remedy = "write JSON objects as UTF-8, one a line";
        return vec![Problem::new(TableError::NotText.to_string(), remedy)];
    };
    let mut found = Vec::new();
    let mut described = BTreeSet::new();
    for (index, line) in text.lines().enumerate() {
        match TaskTable::parse(line.as_bytes()) {
            Ok(table) => {
                for task in table.tasks() {
                    if !described.insert(task.name.clone()) {
                        let what =
                            format!("the section `{SECTION}` describes `{}` twice", task.name);
                        found.push(Problem::new(what, "give one of them another name"));
                    }
                }
            }
            Err(error) => found.push(malformed(index + 1, error)),
        }
    }
    // Names that are missing would only follow from lines that cannot be read.
    if found.is_empty() && kind == Kind::Task {
        found.extend(differences(scan, &described));
        // A name that is described twice was found above.
        let table = TaskTable::parse(description).unwrap_or_default();
        found.extend(wrong_images(scan, &table));
    }
    found
}

/// Inits that are described and are not there, and tasks that need an image of one that is not.
fn wrong_images(scan: &Scan, table: &TaskTable) -> Vec<Problem> {
    let names = scan.exported_functions().filter_map(|name| name.strip_prefix(INIT_PREFIX));
    let exported: BTreeSet<_> = names.collect();
    let missing = table.inits().filter(|init| !exported.contains(init.name.as_str())).map(|init| {
        Problem::new(
            format!(
                "the section `{SECTION}` describes the init `{}`, which is not exported",
                init.name
            ),
            format!("export it as `{INIT_PREFIX}{}`, or take the line out", init.name),
        )
    });
    let needed = table.tasks().filter_map(|task| Some((&task.name, task.needs()?)));
    let unmet = needed.filter(|(_, init)| !exported.contains(init)).map(|(task, init)| {
        Problem::new(
            format!("the task `{task}` needs an image of `{init}`, and there is no such init"),
            format!("export it as `{INIT_PREFIX}{init}`, or name another: no image would do"),
        )
    });
    missing.chain(unmet).collect()
}

fn malformed(line: usize, error: TableError) -> Problem {
    let error = match error {
        TableError::NoRecord { reason, .. } => TableError::NoRecord { line, reason },
        TableError::Name { len, .. } => TableError::Name { line, len },
        other => other,
    };
    Problem::new(
        error.to_string(),
        r#"a line is one JSON object, such as {"task":{"name":"add","args":[{"name":"a","type":"i64"}],"returns":"i64"}}"#,
    )
}

fn differences(scan: &Scan, described: &BTreeSet<String>) -> Vec<Problem> {
    let names = scan.exported_functions().filter_map(|name| name.strip_prefix(EXPORT_PREFIX));
    let exported: BTreeSet<_> = names.collect();
    let missing = described.iter().filter(|name| !exported.contains(name.as_str())).map(|name| {
        Problem::new(
            format!("the section `{SECTION}` describes `{name}`, which is not exported"),
            format!("export it as `{EXPORT_PREFIX}{name}`, or take the line out"),
        )
    });
    let silent = exported.iter().filter(|name| !described.contains(**name)).map(|name| {
        Problem::new(
            format!("the task `{name}` is not described in the section `{SECTION}`"),
            "add a line for it: callers are told before anything runs what does not fit",
        )
    });
    missing.chain(silent).collect()
}
