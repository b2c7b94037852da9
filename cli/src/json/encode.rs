//! JSON values serialised as a task's types want them.
//!
//! Invariant: a value that does not fit its hint goes as JSON has it, and the guest says
//! what is wrong with it.

use super::hint::{Hint, Hints};
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};
use serde_json::{Map, Number, Value};

/// All arguments of a call.
#[derive(Debug)]
pub(crate) struct Arguments<'a> {
    pub(crate) values: &'a [Value],
    pub(crate) hints: &'a Hints,
}

impl Serialize for Arguments<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        each(serializer, self.values, self.hints, |n| self.hints.arguments.get(n))
    }
}

/// A value with what is known of its type.
struct Typed<'a> {
    value: &'a Value,
    hint: &'a Hint,
    hints: &'a Hints,
}

impl Serialize for Typed<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { value, hint, hints } = *self;
        match (hint, value) {
            (Hint::Integer, Value::Number(number)) => match whole(number) {
                Some(whole) => serializer.serialize_i64(whole),
                None => number.serialize(serializer),
            },
            (Hint::Float, Value::Number(number)) => match number.as_f64() {
                Some(float) => serializer.serialize_f64(float),
                None => number.serialize(serializer),
            },
            (Hint::Bytes, Value::String(text)) => serializer.serialize_bytes(text.as_bytes()),
            (Hint::Bytes, Value::Array(numbers)) => match bytes(numbers) {
                Some(bytes) => serializer.serialize_bytes(&bytes),
                None => value.serialize(serializer),
            },
            (Hint::List(hint), Value::Array(values)) => {
                each(serializer, values, hints, |_| Some(hint))
            }
            (Hint::Tuple(parts), Value::Array(values)) => {
                each(serializer, values, hints, |n| parts.get(n))
            }
            (Hint::Map(key, hint), Value::Object(entries)) => {
                keyed(serializer, entries, key, hints, |_| Some(hint))
            }
            (Hint::Fields(fields), Value::Object(entries)) => {
                keyed(serializer, entries, &Hint::Any, hints, |name| find(fields, name))
            }
            (Hint::Named(name), value) => match hints.fields(name) {
                Some(fields) => record(serializer, value, fields, hints),
                None => value.serialize(serializer),
            },
            _ => value.serialize(serializer),
        }
    }
}

/// A value of a type that the module tells of: a struct, a tuple struct, or an enum as
/// serde has it, `"Variant"` or `{"Variant": content}`.
fn record<S: Serializer>(
    serializer: S,
    value: &Value,
    fields: &[(String, Hint)],
    hints: &Hints,
) -> Result<S::Ok, S::Error> {
    let is_tuple = fields.first().is_some_and(|(name, _)| name == "0");
    match (value, fields) {
        // Named the same as the next level, a type that holds itself would never end here.
        (_, [(_, hint)]) if is_tuple && !matches!(hint, Hint::Named(_)) => {
            Typed { value, hint, hints }.serialize(serializer)
        }
        (Value::Array(values), _) if is_tuple => {
            each(serializer, values, hints, |n| fields.get(n).map(|(_, hint)| hint))
        }
        (Value::Object(entries), _) => {
            keyed(serializer, entries, &Hint::Any, hints, |name| find(fields, name))
        }
        _ => value.serialize(serializer),
    }
}

fn find<'a>(fields: &'a [(String, Hint)], name: &str) -> Option<&'a Hint> {
    fields.iter().find(|(field, _)| field == name).map(|(_, hint)| hint)
}

fn each<'a, S: Serializer>(
    serializer: S,
    values: &[Value],
    hints: &Hints,
    hint: impl Fn(usize) -> Option<&'a Hint>,
) -> Result<S::Ok, S::Error> {
    let mut list = serializer.serialize_seq(Some(values.len()))?;
    for (n, value) in values.iter().enumerate() {
        list.serialize_element(&Typed { value, hint: hint(n).unwrap_or(&Hint::Any), hints })?;
    }
    list.end()
}

fn keyed<'a, S: Serializer>(
    serializer: S,
    entries: &Map<String, Value>,
    key: &Hint,
    hints: &Hints,
    hint: impl Fn(&str) -> Option<&'a Hint>,
) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(entries.len()))?;
    for (name, value) in entries {
        // JSON has keys of text only; a number that was written as one becomes one again.
        let number = match key {
            Hint::Integer | Hint::Float | Hint::Boolean => serde_json::from_str(name).ok(),
            _ => None,
        };
        match number.filter(|n| matches!(n, Value::Number(_) | Value::Bool(_))) {
            Some(number) => map.serialize_key(&Typed { value: &number, hint: key, hints })?,
            None => map.serialize_key(name)?,
        }
        map.serialize_value(&Typed { value, hint: hint(name).unwrap_or(&Hint::Any), hints })?;
    }
    map.end()
}

/// An integer that was written as a float and is exact as one.
fn whole(number: &Number) -> Option<i64> {
    const EXACT: f64 = (1u64 << 53) as f64;
    if !number.is_f64() {
        return None;
    }
    let float = number.as_f64()?;
    (float.fract() == 0.0 && float.abs() <= EXACT).then_some(float as i64)
}

fn bytes(numbers: &[Value]) -> Option<Vec<u8>> {
    numbers.iter().map(|n| n.as_u64().and_then(|n| u8::try_from(n).ok())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use dpfw::{Field, TaskRecord, TypeRecord};
    use serde::Deserialize;
    use serde::de::DeserializeOwned;
    use std::collections::BTreeMap;

    const TYPES: &[(&str, &[(&str, &str)])] = &[
        ("Point", &[("x", "f64"), ("tags", "BTreeMap<i8, Bytes>")]),
        ("Shape", &[("Dot", "(Point)"), ("Line", "{ from: Point, to: Point }"), ("None", "()")]),
        ("Id", &[("0", "u64")]),
        ("Loop", &[("0", "Loop")]),
    ];

    fn fields(list: &[(&str, &str)]) -> Vec<Field> {
        list.iter().map(|(name, ty)| Field { name: (*name).into(), ty: (*ty).into() }).collect()
    }

    /// The argument as a guest decodes it.
    fn decode<T: DeserializeOwned>(ty: &str, json: &str) -> T {
        let task = TaskRecord { args: fields(&[("a", ty)]), ..TaskRecord::default() };
        let types: Vec<_> = TYPES
            .iter()
            .map(|(name, list)| TypeRecord { name: (*name).into(), fields: fields(list) })
            .collect();
        let hints = Hints::of(&task, types.iter());
        let values = [serde_json::from_str(json).expect("JSON")];
        let bytes = rmp_serde::to_vec(&Arguments { values: &values, hints: &hints });
        let (one,) = rmp_serde::from_slice(&bytes.expect("encodes")).expect("decodes");
        one
    }

    #[test]
    fn numbers_are_what_the_task_takes() {
        assert_eq!(decode::<i64>("i64", "9007199254740993"), 9_007_199_254_740_993);
        assert_eq!(decode::<u64>("u64", "18446744073709551615"), u64::MAX);
        assert_eq!(decode::<i64>("i64", "-9223372036854775808"), i64::MIN);
        assert_eq!(decode::<u32>("u32", "1e3"), 1000);
        assert_eq!(decode::<f64>("f64", "2"), 2.0);
        assert_eq!(decode::<f64>("Option<f64>", "2"), 2.0);
        assert_eq!(decode::<Option<u8>>("Option<u8>", "null"), None);
        // Not touched: the guest refuses it.
        assert_eq!(decode::<f64>("i64", "2.5"), 2.5);
    }

    #[test]
    fn bytes_are_bytes() {
        type Owned = serde_bytes::ByteBuf;
        assert_eq!(decode::<Owned>("Bytes", "\"aä\"").into_vec(), "aä".as_bytes());
        assert_eq!(decode::<Owned>("dpfw_guest::Bytes", "[0, 255]").into_vec(), [0, 255]);
        assert_eq!(decode::<Vec<u8>>("Vec<u8>", "[0, 255]"), [0, 255]);
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Point {
        x: f64,
        tags: BTreeMap<i8, serde_bytes::ByteBuf>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    enum Shape {
        Dot(Point),
        Line { from: Point, to: Point },
        None,
    }

    #[test]
    fn the_users_types_are_followed() {
        let point = || Point { x: 1.0, tags: [(-1, serde_bytes::ByteBuf::from(*b"t"))].into() };
        let json = r#"{"x": 1, "tags": {"-1": "t"}}"#;
        assert_eq!(decode::<Vec<Point>>("Vec<Point>", &format!("[{json}]")), [point()]);
        let dot = decode::<Shape>("Shape", &format!("{{\"Dot\": {json}}}"));
        assert_eq!(dot, Shape::Dot(point()));
        let line = format!("{{\"Line\": {{\"from\": {json}, \"to\": {json}}}}}");
        assert_eq!(decode::<Shape>("Shape", &line), Shape::Line { from: point(), to: point() });
        assert_eq!(decode::<Shape>("Shape", "\"None\""), Shape::None);
        assert_eq!(decode::<u64>("Id", "7.0"), 7);
        assert_eq!(decode::<u8>("Loop", "7"), 7);
        assert_eq!(decode::<BTreeMap<bool, u8>>("BTreeMap<bool, u8>", r#"{"true": 1}"#)[&true], 1);
    }
}
