//! Plain functions: numbers in, numbers out.

use dpfw_protocol::error::Cause;
use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};
use std::fmt;
use wasmtime::{FuncType, Val, ValType};

/// The arguments, one for each parameter.
///
/// # Errors
/// [`Cause::BadArguments`] if there are too many or too few, or one does not fit.
pub(crate) fn arguments(ty: &FuncType, args: &[u8]) -> Result<Vec<Val>, Cause> {
    let bad = |message: String| Cause::BadArguments { message };
    let mut given = rmp_serde::Deserializer::from_read_ref(args);
    let Arguments(numbers) = Arguments::deserialize(&mut given)
        .map_err(|e| bad(format!("they are no list of numbers: {e}")))?;
    if numbers.len() != ty.params().len() {
        let (given, takes) = (numbers.len(), ty.params().len());
        return Err(bad(format!("it takes {takes}, not {given}: {}", line(ty))));
    }
    let one = |(index, (number, wanted)): (usize, (&Given, ValType))| {
        let no_such =
            || bad(format!("argument {}: {number} is no {wanted}; it is {}", index + 1, line(ty)));
        number.to_value(&wanted).ok_or_else(no_such)
    };
    numbers.iter().zip(ty.params()).enumerate().map(one).collect()
}

/// A signature for people: `(i32, i32) -> i32`.
pub(crate) fn line(ty: &FuncType) -> String {
    let list = |types: &mut dyn Iterator<Item = ValType>| {
        types.map(|ty| ty.to_string()).collect::<Vec<_>>().join(", ")
    };
    let (takes, gives) = (list(&mut ty.params()), list(&mut ty.results()));
    match ty.results().len() {
        0 => format!("({takes})"),
        1 => format!("({takes}) -> {gives}"),
        _ => format!("({takes}) -> ({gives})"),
    }
}

/// wasm allows a function no more parameters.
const MOST: usize = 1000;

/// A flat list of numbers: nothing else is built, whatever a master sends.
struct Arguments(Vec<Given>);

/// A number as it came.
enum Given {
    Signed(i64),
    Unsigned(u64),
    Float(f64),
}

impl Given {
    /// The number in its type; integers may be given signed or unsigned.
    fn to_value(&self, ty: &ValType) -> Option<Val> {
        match (ty, self) {
            (ValType::I32, Self::Signed(n)) => i32::try_from(*n).ok().map(Val::I32),
            (ValType::I32, Self::Unsigned(n)) => {
                u32::try_from(*n).ok().map(|n| Val::I32(n.cast_signed()))
            }
            (ValType::I64, Self::Signed(n)) => Some(Val::I64(*n)),
            (ValType::I64, Self::Unsigned(n)) => Some(Val::I64(n.cast_signed())),
            (ValType::F32, number) => Some(Val::F32((number.as_f64() as f32).to_bits())),
            (ValType::F64, number) => Some(Val::F64(number.as_f64().to_bits())),
            _ => None,
        }
    }

    fn as_f64(&self) -> f64 {
        match *self {
            Self::Signed(n) => n as f64,
            Self::Unsigned(n) => n as f64,
            Self::Float(n) => n,
        }
    }
}

impl fmt::Display for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signed(n) => n.fmt(f),
            Self::Unsigned(n) => n.fmt(f),
            // So that 1.0 is told apart from 1.
            Self::Float(n) => write!(f, "{n:?}"),
        }
    }
}

impl<'de> Deserialize<'de> for Arguments {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(List)
    }
}

impl<'de> Deserialize<'de> for Given {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Number)
    }
}

struct List;

impl<'de> Visitor<'de> for List {
    type Value = Arguments;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of numbers")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Arguments, A::Error> {
        let mut numbers = Vec::new();
        while let Some(number) = seq.next_element()? {
            if numbers.len() == MOST {
                return Err(A::Error::custom(format!("more than {MOST} numbers")));
            }
            numbers.push(number);
        }
        Ok(Arguments(numbers))
    }
}

struct Number;

impl Visitor<'_> for Number {
    type Value = Given;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number")
    }

    fn visit_i64<E>(self, n: i64) -> Result<Given, E> {
        Ok(Given::Signed(n))
    }

    fn visit_u64<E>(self, n: u64) -> Result<Given, E> {
        Ok(Given::Unsigned(n))
    }

    fn visit_f64<E>(self, n: f64) -> Result<Given, E> {
        Ok(Given::Float(n))
    }
}

/// Room for the results.
///
/// # Errors
/// [`Cause::BadArguments`] if the function gives or takes something else than numbers.
pub(crate) fn results(ty: &FuncType) -> Result<Vec<Val>, Cause> {
    ty.results()
        .map(|ty| match ty {
            ValType::I32 => Ok(Val::I32(0)),
            ValType::I64 => Ok(Val::I64(0)),
            ValType::F32 => Ok(Val::F32(0)),
            ValType::F64 => Ok(Val::F64(0)),
            other => Err(Cause::BadResult { message: format!("a result is a {other}, no number") }),
        })
        .collect()
}

/// The results as MessagePack: nothing, one number, or a list of several.
///
/// # Errors
/// [`Cause::BadResult`] if one is no number.
pub(crate) fn encode(results: &[Val]) -> Result<Vec<u8>, Cause> {
    let mut out = Vec::new();
    let bad = |e: &dyn std::fmt::Display| Cause::BadResult { message: e.to_string() };
    let written = match results {
        [] => rmp_serde::encode::write(&mut out, &()),
        [one] => write(&mut out, one),
        several => {
            let many: Vec<Taken> = several.iter().map(Taken).collect();
            rmp_serde::encode::write(&mut out, &many)
        }
    };
    written.map_err(|e| bad(&e))?;
    Ok(out)
}

fn write(out: &mut Vec<u8>, value: &Val) -> Result<(), rmp_serde::encode::Error> {
    rmp_serde::encode::write(out, &Taken(value))
}

/// A number that a function gave.
struct Taken<'a>(&'a Val);

impl serde::Serialize for Taken<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Val::I32(n) => serializer.serialize_i32(*n),
            Val::I64(n) => serializer.serialize_i64(*n),
            Val::F32(bits) => serializer.serialize_f32(f32::from_bits(*bits)),
            Val::F64(bits) => serializer.serialize_f64(f64::from_bits(*bits)),
            _ => Err(serde::ser::Error::custom("a result is no number")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasmtime::Engine;

    fn given(params: &[ValType], args: &serde_json::Value) -> Result<Vec<Val>, String> {
        let ty = FuncType::new(&Engine::default(), params.iter().cloned(), []);
        let bytes = rmp_serde::to_vec(args).expect("encodes");
        arguments(&ty, &bytes).map_err(|cause| cause.to_string())
    }

    #[test]
    fn integers_may_be_signed_or_not_and_floats_be_integers() {
        let params = [ValType::I32, ValType::I32, ValType::I64, ValType::F64];
        let args = serde_json::json!([-1, u32::MAX, u64::MAX, 7]);
        let values = given(&params, &args).expect("they fit");
        assert!(matches!(values[..], [Val::I32(-1), Val::I32(-1), Val::I64(-1), Val::F64(_)]));
        assert_eq!(values[3].f64(), Some(7.0));
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let i32s = [ValType::I32, ValType::I32];
        let error = |args| given(&i32s, &args).expect_err("refused");
        assert!(error(serde_json::json!([1])).contains("it takes 2, not 1: (i32, i32)"));
        assert!(error(serde_json::json!([1, 2.5])).contains("argument 2: 2.5 is no i32"));
        assert!(error(serde_json::json!([1, 1u64 << 40])).contains("argument 2"));
        assert!(error(serde_json::json!([1, "a"])).contains("no list of numbers"));
        assert!(error(serde_json::json!({"a": 1})).contains("no list of numbers"));
    }

    #[test]
    fn a_list_is_not_built_beyond_what_a_function_may_take() {
        let ty = FuncType::new(&Engine::default(), [], []);
        let endless = [&[0xdd, 0xff, 0xff, 0xff, 0xff][..], &[1; 5000]].concat();
        let error = arguments(&ty, &endless).expect_err("refused").to_string();
        assert!(error.contains("more than 1000 numbers"), "{error}");
        let nested = [0x91; 100_000];
        let error = arguments(&ty, &nested).expect_err("refused").to_string();
        assert!(error.contains("no list of numbers"), "{error}");
    }
}
