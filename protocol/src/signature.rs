//! What a module says of its tasks, and whether a caller believes the same.
//!
//! The guest SDK's macros write one JSON object a line into the custom section
//! [`SECTION`]; any toolchain can do the same. Types stand there as they are written in
//! the source; a derive adds the fields of the user's own types. Two descriptions are
//! compared as text: a caller and a module built from the same source agree, and where
//! they do not, the difference can be shown in the user's own words.

use crate::error::Cause;
use crate::limits::MAX_NAME;
use crate::message::TaskFlags;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};

/// The custom section that describes a module's tasks.
pub const SECTION: &str = "dpfw.tasks";

/// The prefix of the exports that are tasks.
pub const EXPORT_PREFIX: &str = "dpfw:";

/// The prefix of the exports that make many calls of a task at one go.
pub const BATCH_PREFIX: &str = "dpfw-batch:";

/// A name and a type, as written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Field {
    /// The argument, the field, or the variant.
    pub name: String,
    /// The type as the source has it.
    #[serde(rename = "type")]
    pub ty: String,
}

/// A task of a module.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskRecord {
    /// Its name; the module exports it behind [`EXPORT_PREFIX`].
    pub name: String,
    /// Its arguments.
    #[serde(default)]
    pub args: Vec<Field>,
    /// The type of its result; for a fallible task that of success.
    #[serde(default)]
    pub returns: String,
    /// Whether it can return an error.
    #[serde(default)]
    pub fallible: bool,
    /// Never tried again once it may have run.
    #[serde(default)]
    pub once: bool,
    /// May be tried twice at once.
    #[serde(default)]
    pub effect_free: bool,
    /// The doc comment.
    #[serde(default)]
    pub doc: String,
    /// The init of the image that it runs on; empty if it needs none.
    #[serde(default)]
    pub image: String,
}

impl TaskRecord {
    /// The init of the image that it runs on, if it needs one.
    pub fn needs(&self) -> Option<&str> {
        (!self.image.is_empty()).then_some(&self.image)
    }

    /// The flags that a dispatch of this task carries.
    pub fn flags(&self) -> TaskFlags {
        let mut flags = TaskFlags::default();
        if self.once {
            flags = flags.with(TaskFlags::ONCE);
        }
        if self.effect_free {
            flags = flags.with(TaskFlags::EFFECT_FREE);
        }
        flags
    }

    /// The task as a line of source: `add(a: i64, b: i64) -> i64`.
    pub fn line(&self) -> String {
        let args: Vec<_> = self.args.iter().map(|a| format!("{}: {}", a.name, a.ty)).collect();
        let returns = match (self.fallible, self.returns.as_str()) {
            (false, "()" | "") => String::new(),
            (false, ty) => format!(" -> {ty}"),
            (true, ty) => format!(" -> Result<{ty}, _>"),
        };
        format!("{}({}){returns}", self.name, args.join(", "))
    }
}

/// A type of the user's that tasks take or give.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TypeRecord {
    /// Its name.
    pub name: String,
    /// Its fields, or its variants.
    pub fields: Vec<Field>,
}

/// One line of the custom section.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Record {
    Task(TaskRecord),
    Init(TaskRecord),
    /// A constructor or a method of a resident, named `class.name`.
    Resident(TaskRecord),
    Type(TypeRecord),
}

/// A task together with the user's types that it mentions, directly or not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature {
    /// The task.
    pub task: TaskRecord,
    /// The types, by name.
    pub types: Vec<TypeRecord>,
}

/// All that a module says of its tasks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskTable {
    tasks: BTreeMap<String, TaskRecord>,
    inits: BTreeMap<String, TaskRecord>,
    residents: BTreeMap<String, TaskRecord>,
    types: BTreeMap<String, TypeRecord>,
}

/// A module's custom section is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TableError {
    /// Not UTF-8.
    #[error("the section `{SECTION}` is not UTF-8")]
    NotText,
    /// A line is no record.
    #[error("line {line} of the section `{SECTION}` is no record: {reason}")]
    NoRecord {
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// A name is empty or too long.
    #[error(
        "line {line} of the section `{SECTION}` has a name of {len} bytes; 1 to {MAX_NAME} are allowed"
    )]
    Name {
        /// Counted from 1.
        line: usize,
        /// The name's length.
        len: usize,
    },
    /// Two tasks have the same name.
    #[error("two tasks are named `{0}`; give one of them another name")]
    Twice(String),
    /// Two inits have the same name.
    #[error("two inits are named `{0}`; give one of them another name")]
    InitTwice(String),
    /// Two methods of residents have the same name.
    #[error("two methods of residents are named `{0}`; give one of the types another name")]
    MethodTwice(String),
}

impl TaskTable {
    /// Reads the contents of a module's sections [`SECTION`], which linkers may have put
    /// together from many.
    ///
    /// # Errors
    /// [`TableError`], with the line.
    pub fn parse(section: &[u8]) -> Result<Self, TableError> {
        let text = std::str::from_utf8(section).map_err(|_| TableError::NotText)?;
        let mut table = Self::default();
        for (index, line) in text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty()) {
            let line_number = index + 1;
            let record = serde_json::from_str(line)
                .map_err(|e| TableError::NoRecord { line: line_number, reason: e.to_string() })?;
            table.add(record, line_number)?;
        }
        Ok(table)
    }

    fn add(&mut self, record: Record, line: usize) -> Result<(), TableError> {
        let name = match &record {
            Record::Task(task) | Record::Init(task) | Record::Resident(task) => task.name.clone(),
            Record::Type(ty) => ty.name.clone(),
        };
        if name.is_empty() || name.len() > MAX_NAME {
            return Err(TableError::Name { line, len: name.len() });
        }
        match record {
            Record::Task(task) => match self.tasks.insert(name.clone(), task) {
                None => Ok(()),
                Some(_) => Err(TableError::Twice(name)),
            },
            Record::Init(init) => match self.inits.insert(name.clone(), init) {
                None => Ok(()),
                Some(_) => Err(TableError::InitTwice(name)),
            },
            Record::Resident(method) => match self.residents.insert(name.clone(), method) {
                None => Ok(()),
                Some(_) => Err(TableError::MethodTwice(name)),
            },
            Record::Type(ty) => {
                self.types.insert(name, ty);
                Ok(())
            }
        }
    }

    /// The tasks in the order of their names.
    pub fn tasks(&self) -> impl Iterator<Item = &TaskRecord> {
        self.tasks.values()
    }

    /// The inits in the order of their names.
    pub fn inits(&self) -> impl Iterator<Item = &TaskRecord> {
        self.inits.values()
    }

    /// The constructors and methods of residents in the order of their names.
    pub fn residents(&self) -> impl Iterator<Item = &TaskRecord> {
        self.residents.values()
    }

    /// The task of that name.
    pub fn task(&self, name: &str) -> Option<&TaskRecord> {
        self.tasks.get(name)
    }

    /// Whether nothing is described.
    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    /// The init of that name.
    pub fn init(&self, name: &str) -> Option<&TaskRecord> {
        self.inits.get(name)
    }

    /// A task with the types that it mentions.
    pub fn signature(&self, name: &str) -> Option<Signature> {
        Some(self.with_types(self.tasks.get(name)?.clone()))
    }

    /// An init with the types that it mentions.
    pub fn init_signature(&self, name: &str) -> Option<Signature> {
        Some(self.with_types(self.inits.get(name)?.clone()))
    }

    /// A constructor or a method of a resident with the types that it mentions.
    pub fn method(&self, name: &str) -> Option<Signature> {
        Some(self.with_types(self.residents.get(name)?.clone()))
    }

    fn with_types(&self, task: TaskRecord) -> Signature {
        let mut open: Vec<String> = task.args.iter().map(|a| a.ty.clone()).collect();
        open.push(task.returns.clone());
        let mut types = BTreeMap::new();
        while let Some(ty) = open.pop() {
            for word in ty.split(|c: char| !c.is_alphanumeric() && c != '_') {
                if let Some(found) = self.types.get(word)
                    && types.insert(word.to_owned(), found.clone()).is_none()
                {
                    open.extend(found.fields.iter().map(|f| f.ty.clone()));
                }
            }
        }
        Signature { task, types: types.into_values().collect() }
    }
}

impl Signature {
    /// About how many bytes of memory it takes: a field of a few bytes on the wire takes fifty.
    pub fn bytes(&self) -> usize {
        let of = |fields: &[Field]| -> usize {
            let texts = |field: &Field| field.name.len() + field.ty.len() + size_of::<Field>();
            fields.iter().map(texts).sum()
        };
        let Self { task, types } = self;
        let texts = [&task.name, &task.returns, &task.doc, &task.image];
        let own = size_of::<Self>() + texts.iter().map(|text| text.len()).sum::<usize>();
        let each = |ty: &TypeRecord| size_of::<TypeRecord>() + ty.name.len() + of(&ty.fields);
        own + of(&task.args) + types.iter().map(each).sum::<usize>()
    }

    /// Holds the caller's belief (`self`) against the module's word.
    ///
    /// # Errors
    /// [`Cause::Mismatch`] with the first thing that differs.
    pub fn check(&self, module: &Self) -> Result<(), Cause> {
        self.difference(module).map_or(Ok(()), |difference| Err(Cause::Mismatch { difference }))
    }

    fn difference(&self, module: &Self) -> Option<String> {
        let (ours, theirs) = (&self.task, &module.task);
        if same_types(&ours.args, &theirs.args)
            && squeeze(&ours.returns) == squeeze(&theirs.returns)
            && ours.fallible == theirs.fallible
        {
            // Looked up rather than searched: both lists may be long, and a peer's.
            let theirs: HashMap<_, _> =
                module.types.iter().rev().map(|ty| (ty.name.as_str(), ty)).collect();
            return self.types.iter().find_map(|ty| type_difference(ty, &theirs));
        }
        Some(format!("the caller has `{}`, the module has `{}`", ours.line(), theirs.line()))
    }
}

fn same_types(ours: &[Field], theirs: &[Field]) -> bool {
    ours.len() == theirs.len()
        && ours.iter().zip(theirs).all(|(a, b)| squeeze(&a.ty) == squeeze(&b.ty))
}

/// A type without the white space that a formatter may move.
fn squeeze(ty: &str) -> String {
    ty.split_whitespace().collect()
}

fn type_difference(ours: &TypeRecord, theirs: &HashMap<&str, &TypeRecord>) -> Option<String> {
    let name = &ours.name;
    let Some(theirs) = theirs.get(name.as_str()) else {
        return Some(format!("the caller has a type `{name}`, the module has none"));
    };
    let shape = |fields: &[Field]| -> Vec<(String, String)> {
        fields.iter().map(|f| (f.name.clone(), squeeze(&f.ty))).collect()
    };
    let (a, b) = (shape(&ours.fields), shape(&theirs.fields));
    let side = |list: &[(String, String)]| -> String {
        let fields: Vec<_> = list.iter().map(|(n, t)| format!("{n}: {t}")).collect();
        fields.join(", ")
    };
    (a != b).then(|| {
        format!("`{name}` is {{ {} }} to the caller and {{ {} }} to the module", side(&a), side(&b))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(lines: &str) -> TaskTable {
        TaskTable::parse(lines.as_bytes()).expect("well formed")
    }

    const SEARCH: &str = r#"
        {"task":{"name":"search","args":[{"name":"q","type":"Query"}],"returns":"Vec<Hit>"}}
        {"type":{"name":"Query","fields":[{"name":"text","type":"String"}]}}
        {"type":{"name":"Hit","fields":[{"name":"doc","type":"u32"}]}}
        {"type":{"name":"Other","fields":[]}}
    "#;

    #[test]
    fn a_signature_has_the_types_that_its_task_mentions() {
        let signature = table(SEARCH).signature("search").expect("there");
        let names: Vec<_> = signature.types.iter().map(|t| t.name.as_str()).collect();
        assert_eq!(names, ["Hit", "Query"]);
        assert_eq!(signature.task.line(), "search(q: Query) -> Vec<Hit>");
    }

    #[test]
    fn a_difference_is_told_in_the_users_words() {
        let ours = table(SEARCH).signature("search").expect("there");
        let changed = SEARCH.replace(r#""doc","type":"u32""#, r#""doc","type":"u64""#);
        let theirs = table(&changed).signature("search").expect("there");
        assert_eq!(ours.check(&ours), Ok(()));
        let Err(Cause::Mismatch { difference }) = ours.check(&theirs) else {
            panic!("no difference found");
        };
        assert_eq!(
            difference,
            "`Hit` is { doc: u32 } to the caller and { doc: u64 } to the module"
        );

        let changed = SEARCH.replace("Vec<Hit>", "Option<Hit>");
        let theirs = table(&changed).signature("search").expect("there");
        assert_eq!(
            ours.check(&theirs).expect_err("differs").to_string(),
            "the caller's task differs from the module's: the caller has \
             `search(q: Query) -> Vec<Hit>`, the module has `search(q: Query) -> Option<Hit>`"
        );
    }

    #[test]
    fn bad_sections_are_refused_with_their_line() {
        let twice = "{\"task\":{\"name\":\"a\"}}\n{\"task\":{\"name\":\"a\"}}";
        assert_eq!(TaskTable::parse(twice.as_bytes()), Err(TableError::Twice("a".into())));
        let error =
            TaskTable::parse(b"{\"task\":{\"name\":\"a\"}}\nnonsense").expect_err("no JSON");
        assert!(error.to_string().starts_with("line 2 of the section `dpfw.tasks`"), "{error}");
        assert_eq!(TaskTable::parse(&[0xff]), Err(TableError::NotText));
    }
}
