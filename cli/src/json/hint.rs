//! What a task's types, as its module tells them, say about the encoding of a value.
//!
//! Owns: reading a type as it is written in Rust. Does not: check anything; the guest
//! does. Invariant: what is not understood is [`Hint::Any`], so that a hint can help but
//! never stand in the way; no text of a module makes it recurse without end.

use dpfw::{TaskRecord, TypeRecord};
use std::collections::HashMap;

/// What a type wants of its value's encoding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Hint {
    /// As JSON has it.
    Any,
    /// An integer, also where JSON says `2.0` or `1e3`.
    Integer,
    /// A float, also where JSON says `2`.
    Float,
    /// Bytes, where JSON has a text or a list of numbers.
    Bytes,
    /// A boolean, where JSON has the text of a key.
    Boolean,
    /// Elements of one type.
    List(Box<Self>),
    /// Elements of different types.
    Tuple(Vec<Self>),
    /// Keys of one type, values of another.
    Map(Box<Self>, Box<Self>),
    /// Named fields.
    Fields(Vec<(String, Self)>),
    /// A type that the module tells of, by its name.
    Named(String),
}

/// The hints of a module: its tasks' arguments, and its types.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hints {
    pub(crate) arguments: Vec<Hint>,
    types: HashMap<String, Vec<(String, Hint)>>,
}

impl Hints {
    /// The hints of a task and the types that it mentions.
    pub(crate) fn of<'a>(task: &TaskRecord, types: impl Iterator<Item = &'a TypeRecord>) -> Self {
        let fields = |ty: &TypeRecord| -> Vec<_> {
            ty.fields.iter().map(|f| (f.name.clone(), parse(&f.ty))).collect()
        };
        Self {
            arguments: task.args.iter().map(|arg| parse(&arg.ty)).collect(),
            types: types.map(|ty| (ty.name.clone(), fields(ty))).collect(),
        }
    }

    /// The fields of a type, or its variants.
    pub(crate) fn fields(&self, name: &str) -> Option<&[(String, Hint)]> {
        self.types.get(name).map(Vec::as_slice)
    }
}

/// Types nest no deeper than this in anything a person wrote.
const DEEPEST: usize = 32;

/// Reads a type.
pub(crate) fn parse(ty: &str) -> Hint {
    let mut reader = Reader { rest: ty };
    reader.ty(0).unwrap_or(Hint::Any)
}

struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    fn eat(&mut self, token: &str) -> Option<()> {
        self.rest = self.rest.trim_start();
        self.rest = self.rest.strip_prefix(token)?;
        Some(())
    }

    fn word(&mut self) -> Option<&'a str> {
        self.rest = self.rest.trim_start();
        let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == '#';
        let end = self.rest.find(|c| !is_part(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        (!word.is_empty()).then_some(word.strip_prefix("r#").unwrap_or(word))
    }

    fn ty(&mut self, depth: usize) -> Option<Hint> {
        if depth > DEEPEST {
            return None;
        }
        if self.eat("(").is_some() {
            let mut parts = self.list(")", depth)?;
            // In parentheses: the type itself, and so is a variant with one value.
            return Some(match parts.len() {
                0 => Hint::Any,
                1 => parts.remove(0),
                _ => Hint::Tuple(parts),
            });
        }
        if self.eat("[").is_some() {
            let element = self.ty(depth + 1)?;
            // `[T]` or `[T; LENGTH]`; a length has no brackets in anything that compiles here.
            self.rest = &self.rest[self.rest.find(']')? + 1..];
            return Some(Hint::List(Box::new(element)));
        }
        if self.eat("{").is_some() {
            return self.named_fields(depth);
        }
        if self.eat("&").is_some() {
            self.lifetime();
            return self.ty(depth + 1);
        }
        self.path(depth)
    }

    fn lifetime(&mut self) -> Option<()> {
        self.eat("'")?;
        self.word().map(drop)
    }

    /// Types up to the closing token; lifetimes among them are left out.
    fn list(&mut self, close: &str, depth: usize) -> Option<Vec<Hint>> {
        let mut parts = Vec::new();
        while self.eat(close).is_none() {
            if self.lifetime().is_none() {
                parts.push(self.ty(depth + 1)?);
            }
            if self.eat(",").is_none() {
                self.eat(close)?;
                break;
            }
        }
        Some(parts)
    }

    fn named_fields(&mut self, depth: usize) -> Option<Hint> {
        let mut fields = Vec::new();
        while self.eat("}").is_none() {
            let name = self.word()?.to_owned();
            self.eat(":")?;
            fields.push((name, self.ty(depth + 1)?));
            if self.eat(",").is_none() {
                self.eat("}")?;
                break;
            }
        }
        Some(Hint::Fields(fields))
    }

    fn path(&mut self, depth: usize) -> Option<Hint> {
        let mut name = self.word()?;
        while self.eat("::").is_some() {
            name = self.word()?;
        }
        let arguments = match self.eat("<") {
            Some(()) => self.list(">", depth)?,
            None => Vec::new(),
        };
        Some(named(name, arguments))
    }
}

fn named(name: &str, mut arguments: Vec<Hint>) -> Hint {
    match (name, arguments.len()) {
        ("f32" | "f64", 0) => Hint::Float,
        ("bool", 0) => Hint::Boolean,
        ("Bytes" | "ByteBuf", 0) => Hint::Bytes,
        ("Vec" | "VecDeque" | "LinkedList" | "BinaryHeap", 1)
        | ("HashSet" | "BTreeSet" | "IndexSet", 1..) => Hint::List(Box::new(arguments.remove(0))),
        ("HashMap" | "BTreeMap" | "IndexMap", 2..) => {
            let (key, value) = (arguments.remove(0), arguments.remove(0));
            Hint::Map(Box::new(key), Box::new(value))
        }
        ("Option" | "Box" | "Rc" | "Arc" | "Cow" | "Cell" | "RefCell" | "Mutex", 1) => {
            arguments.remove(0)
        }
        (name, 0) if is_integer(name) => Hint::Integer,
        (name, 0) => Hint::Named(name.to_owned()),
        _ => Hint::Any,
    }
}

fn is_integer(name: &str) -> bool {
    let name = name.strip_prefix("NonZero").map_or(name.to_owned(), str::to_lowercase);
    let bits = name.strip_prefix(['i', 'u']);
    matches!(bits, Some("8" | "16" | "32" | "64" | "128" | "size"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(of: Hint) -> Hint {
        Hint::List(Box::new(of))
    }

    #[test]
    fn types_are_read_as_they_are_written() {
        let named = |name: &str| Hint::Named(name.into());
        let map = |key, value| Hint::Map(Box::new(key), Box::new(value));
        assert_eq!(parse("i64"), Hint::Integer);
        assert_eq!(parse("NonZeroU8"), Hint::Integer);
        assert_eq!(parse("Option<f32>"), Hint::Float);
        assert_eq!(parse("dpfw_guest::Bytes"), Hint::Bytes);
        assert_eq!(parse("Vec<Vec<u8>>"), list(list(Hint::Integer)));
        assert_eq!(parse("[f64; 3]"), list(Hint::Float));
        assert_eq!(parse("(u8, String,)"), Hint::Tuple(vec![Hint::Integer, named("String")]));
        assert_eq!(parse("(u8)"), Hint::Integer);
        assert_eq!(parse("()"), Hint::Any);
        assert_eq!(
            parse("std::collections::HashMap<u64, Vec<Point>, S>"),
            map(Hint::Integer, list(named("Point")))
        );
        assert_eq!(parse("Cow<'static, [u8]>"), list(Hint::Integer));
        assert_eq!(parse("&'a str"), named("str"));
        assert_eq!(
            parse("{ at: u32, r#type: Bytes }"),
            Hint::Fields(vec![("at".into(), Hint::Integer), ("type".into(), Hint::Bytes)])
        );
    }

    #[test]
    fn arrays_and_slices_end() {
        assert_eq!(
            parse("([u8; 4], &[f32])"),
            Hint::Tuple(vec![list(Hint::Integer), list(Hint::Float)])
        );
    }

    #[test]
    fn what_is_not_understood_is_left_alone() {
        for odd in ["", "<", "Vec<", "dyn Fn(u8) -> u8", "Result<u8, u8>", "*const u8", "("] {
            assert!(matches!(parse(odd), Hint::Any | Hint::Named(_)), "{odd}: {:?}", parse(odd));
        }
        for open in ["(", "[", "{", "&", "Vec<", "Box<("] {
            parse(&open.repeat(100_000));
        }
    }
}
