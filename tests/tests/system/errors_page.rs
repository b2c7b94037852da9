//! `docs/errors.md` against the types, as they stand in the sources.
//!
//! Owns: that every public error has its part of the page, every variant a row, and every
//! cause its number on the wire and whether it is recoverable. Invariant: an error that is
//! added anywhere is found here without being named here. The sources are formatted, so lines
//! say enough; a parser would be one more dependency of everything.

use anyhow::{Context, Result};
use dpfw_protocol::error::{Cause, Failure};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

const PAGE: &str = include_str!("../../../docs/errors.md");

/// The crates whose errors callers meet.
const CRATES: [&str; 7] = ["protocol", "dispatch", "link", "master", "slave", "dpfw", "guest-sdk"];

/// What no caller meets.
const INNER: [(&str, &str); 2] = [
    ("ArrivalError", "it ends a link, as `LinkError::Broken`, or a task, as `Cause::Busy`"),
    ("StreamError", "it ends a link, as `LinkError::Broken`"),
];

/// An error as its source has it; a struct has no variants.
#[derive(Debug)]
struct Declared {
    name: String,
    package: String,
    variants: BTreeSet<String>,
}

impl Declared {
    /// How the page may head its part.
    fn headings(&self) -> [String; 2] {
        let package = match self.package.as_str() {
            "guest-sdk" => "dpfw_guest".to_owned(),
            "dpfw" => "dpfw".to_owned(),
            other => format!("dpfw_{other}"),
        };
        [self.name.clone(), format!("{package}::{}", self.name)]
    }
}

/// The parts of the page by their headings: the cells of each row.
fn page() -> BTreeMap<String, Vec<Vec<String>>> {
    let (mut parts, mut heading) = (BTreeMap::<_, Vec<_>>::new(), String::new());
    for line in PAGE.lines() {
        if let Some(text) = line.strip_prefix("## ") {
            heading = text.to_owned();
            parts.entry(heading.clone()).or_default();
        }
        let row = line.strip_prefix("| ").and_then(|rest| rest.strip_suffix(" |"));
        if let Some(row) = row {
            let cells: Vec<_> = row.split(" | ").map(str::to_owned).collect();
            parts.entry(heading.clone()).or_default().push(cells);
        }
    }
    // The heads of the tables.
    parts.values_mut().filter(|rows| !rows.is_empty()).for_each(|rows| drop(rows.remove(0)));
    parts
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn sources(directory: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        match path.is_dir() {
            true => sources(&path, found)?,
            false if path.extension().is_some_and(|it| it == "rs") => found.push(path),
            false => {}
        }
    }
    Ok(())
}

/// Every public error in the sources.
fn declared() -> Result<Vec<Declared>> {
    let mut all = Vec::new();
    for package in CRATES {
        let mut files = Vec::new();
        sources(&root().join(package).join("src"), &mut files)?;
        for file in files {
            all.extend(of_source(&fs::read_to_string(&file)?, package));
        }
    }
    Ok(all)
}

/// The public errors that stand at the margin of a source.
fn of_source(source: &str, package: &str) -> Vec<Declared> {
    let mut found = Vec::new();
    let mut lines = source.lines();
    while let Some(line) = lines.next() {
        let Some(rest) =
            line.strip_prefix("pub enum ").or_else(|| line.strip_prefix("pub struct "))
        else {
            continue;
        };
        let name: String = rest.chars().take_while(|c| c.is_alphanumeric()).collect();
        let is_error = name.ends_with("Error") || ["Cause", "LinkLost"].contains(&name.as_str());
        if !is_error || INNER.iter().any(|(inner, _)| *inner == name) {
            continue;
        }
        let mut variants = BTreeSet::new();
        if line.starts_with("pub enum ") {
            let body = lines.by_ref().take_while(|line| *line != "}");
            variants.extend(body.filter_map(variant_of));
        }
        found.push(Declared { name, package: package.to_owned(), variants });
    }
    found
}

/// The variant that a line of an enum begins: a name in the first column of its body.
fn variant_of(line: &str) -> Option<String> {
    let rest = line.strip_prefix("    ").filter(|rest| rest.starts_with(char::is_uppercase))?;
    Some(rest.chars().take_while(|c| c.is_alphanumeric()).collect())
}

/// The names in a part of the page, which stand in this column in backticks.
fn names(rows: &[Vec<String>], column: usize) -> BTreeSet<String> {
    let cells = rows.iter().filter_map(|row| row.get(column));
    cells.map(|cell| cell.trim_matches('`').to_owned()).collect()
}

#[test]
fn every_error_and_every_variant_has_its_place_on_the_page() -> Result<()> {
    let (page, declared) = (page(), declared()?);
    assert!(declared.len() >= 19, "the sources were not read: {declared:?}");
    for error in &declared {
        let [short, long] = error.headings();
        let rows = page.get(&short).or_else(|| page.get(&long));
        let rows = rows.with_context(|| {
            format!("docs/errors.md has no `## {short}` and no `## {long}`, an error of callers")
        })?;
        let column = usize::from(error.name == "Cause");
        assert_eq!(names(rows, column), error.variants, "docs/errors.md, {long}: rows, variants");
    }
    let headings: BTreeSet<_> = declared.iter().flat_map(Declared::headings).collect();
    for heading in
        page.keys().filter(|heading| !["Limit", "Storage", "Trap"].contains(&heading.as_str()))
    {
        assert!(headings.contains(heading), "docs/errors.md: `{heading}` is no error any more");
    }
    Ok(())
}

#[test]
fn every_row_says_what_it_means_and_what_to_do() {
    for (heading, rows) in page() {
        for row in rows {
            let (width, is_cause) = (row.len(), heading == "Cause");
            let expected = match heading.as_str() {
                "Cause" => 5,
                "Limit" | "Storage" | "Trap" => 4,
                _ => 3,
            };
            assert_eq!(width, expected, "{heading}: {row:?}");
            assert!(row[width - 2..].iter().all(|cell| !cell.trim().is_empty()), "{row:?}");
            assert!(!is_cause || ["yes", "no"].contains(&row[2].as_str()), "{row:?}");
        }
    }
}

/// A cause's name and what the type says of it, by its number on the wire.
fn causes() -> BTreeMap<String, (String, bool)> {
    // A name that is one of everything that names are of.
    let of = |code| Failure { code, name: "image".into(), ..Failure::default() };
    let known = (0..=u16::MAX).map(|code| Cause::from(of(code)));
    let mut rows: BTreeMap<_, _> = known
        .filter(|cause| !matches!(cause, Cause::Unknown { .. }))
        .map(|cause| (cause.code().to_string(), (variant(&cause), cause.is_recoverable())))
        .collect();
    let unknown = Cause::from(Failure { code: u16::MAX, ..Failure::default() });
    rows.insert("other".into(), (variant(&unknown), unknown.is_recoverable()));
    rows
}

/// The name of a value's variant.
fn variant(cause: &Cause) -> String {
    format!("{cause:?}").split([' ', '{', '(']).next().unwrap_or_default().to_owned()
}

#[test]
fn causes_have_their_numbers_and_say_whether_trying_again_can_help() -> Result<()> {
    let page = page();
    let rows = page.get("Cause").context("a part on causes")?;
    let told: BTreeMap<_, _> = rows
        .iter()
        .map(|row| (row[0].clone(), (row[1].trim_matches('`').to_owned(), row[2] == "yes")))
        .collect();
    assert_eq!(told, causes(), "docs/errors.md, the types");
    let declared = declared()?.into_iter().find(|error| error.name == "Cause");
    let variants = declared.context("the causes")?.variants;
    let numbered: BTreeSet<_> = causes().into_values().map(|(name, _)| name).collect();
    assert_eq!(numbered, variants, "a cause that no number is read as");
    Ok(())
}

/// The words of the enums that are declared by a `words!` of the protocol.
fn words(source: &str) -> BTreeMap<String, BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    let (mut inside, mut name) = (false, String::new());
    for line in source.lines() {
        match line {
            "words! {" => inside = true,
            "}" => inside = false,
            _ if !inside => {}
            _ => match line.trim_end_matches([',', '{', ' ']).split_once(" = ") {
                Some((variant, word)) => {
                    let words: &mut BTreeMap<_, _> = found.entry(name.clone()).or_default();
                    words.insert(word.trim_matches('"').to_owned(), variant.trim().to_owned());
                }
                None => name = variant_of(line).unwrap_or(name),
            },
        }
    }
    found
}

#[test]
fn limits_traps_and_disks_have_rows_with_their_words() -> Result<()> {
    let words = words(&fs::read_to_string(root().join("protocol/src/error/words.rs"))?);
    assert_eq!(words.keys().map(String::as_str).collect::<Vec<_>>(), ["Limit", "Storage", "Trap"]);
    let page = page();
    for (name, mut words) in words {
        words.insert("other".into(), "Other".into());
        let rows = page.get(&name).with_context(|| format!("docs/errors.md has no `## {name}`"))?;
        let cell = |cell: &String| cell.trim_matches('`').to_owned();
        let told: BTreeMap<_, _> = rows.iter().map(|row| (cell(&row[0]), cell(&row[1]))).collect();
        assert_eq!(told, words, "docs/errors.md, {name}");
    }
    Ok(())
}
