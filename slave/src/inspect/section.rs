//! What is wrong with a module's description of its tasks.

use super::Problem;
use super::exports::CALLED;
use super::scan::Scan;
use crate::module::facts::Kind;
use dpfw_protocol::image::INIT_PREFIX;
use dpfw_protocol::resident::RESIDENT_PREFIX;
use dpfw_protocol::signature::{EXPORT_PREFIX, SECTION, TableError, TaskRecord, TaskTable};
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
                for (prefix, record) in records(&table) {
                    if !described.insert((prefix, record.name.clone())) {
                        let what =
                            format!("the section `{SECTION}` describes `{}` twice", record.name);
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

/// Tasks that need an image of an init that is not there.
fn wrong_images(scan: &Scan, table: &TaskTable) -> Vec<Problem> {
    let names = scan.exported_functions().filter_map(|name| name.strip_prefix(INIT_PREFIX));
    let exported: BTreeSet<_> = names.collect();
    let needed = table.tasks().filter_map(|task| Some((&task.name, task.needs()?)));
    let unmet = needed.filter(|(_, init)| !exported.contains(init));
    let problem = |(task, init): (&String, &str)| {
        Problem::new(
            format!("the task `{task}` needs an image of `{init}`, and there is no such init"),
            format!("export it as `{INIT_PREFIX}{init}`, or name another: no image would do"),
        )
    };
    unmet.map(problem).collect()
}

/// What a table describes, each with the prefix of its export.
fn records(table: &TaskTable) -> impl Iterator<Item = (&'static str, &TaskRecord)> {
    let tasks = table.tasks().map(|task| (EXPORT_PREFIX, task));
    let inits = table.inits().map(|init| (INIT_PREFIX, init));
    tasks.chain(inits).chain(table.residents().map(|method| (RESIDENT_PREFIX, method)))
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

fn differences(scan: &Scan, described: &BTreeSet<(&str, String)>) -> Vec<Problem> {
    let of_prefix = |(prefix, what, _)| differences_of(scan, described, prefix, what);
    CALLED.into_iter().flat_map(of_prefix).collect()
}

/// The differences of what is exported behind one prefix.
fn differences_of(
    scan: &Scan,
    described: &BTreeSet<(&str, String)>,
    prefix: &str,
    what: &str,
) -> Vec<Problem> {
    let exported: BTreeSet<_> =
        scan.exported_functions().filter_map(|name| name.strip_prefix(prefix)).collect();
    let described: BTreeSet<_> =
        described.iter().filter(|(of, _)| *of == prefix).map(|(_, name)| name.as_str()).collect();
    let missing = described.difference(&exported).map(|name| {
        Problem::new(
            format!("the section `{SECTION}` describes `{name}`, which is not exported"),
            format!("export it as `{prefix}{name}`, or take the line out"),
        )
    });
    let silent = exported.difference(&described).map(|name| {
        Problem::new(
            format!("the {what} `{name}` is not described in the section `{SECTION}`"),
            "add a line for it: callers are told before anything runs what does not fit",
        )
    });
    missing.chain(silent).collect()
}
