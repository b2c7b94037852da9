//! Plain functions: numbers in, numbers out.

use dpfw_protocol::error::Cause;
use serde_json::Value;
use wasmtime::{FuncType, Val, ValType};

/// The arguments, one for each parameter.
///
/// # Errors
/// [`Cause::BadArguments`] if there are too many or too few, or one does not fit.
pub(crate) fn arguments(ty: &FuncType, args: &[u8]) -> Result<Vec<Val>, Cause> {
    let bad = |message: String| Cause::BadArguments { message };
    let values: Vec<Value> = rmp_serde::from_slice(args)
        .map_err(|e| bad(format!("they are no list of numbers: {e}")))?;
    if values.len() != ty.params().len() {
        let message = format!("{} were given, it takes {}", values.len(), ty.params().len());
        return Err(bad(message));
    }
    let one = |(index, (value, ty)): (usize, (&Value, ValType))| {
        number(value, &ty).ok_or_else(|| bad(format!("argument {}: {value} is no {ty}", index + 1)))
    };
    values.iter().zip(ty.params()).enumerate().map(one).collect()
}

/// A number of the type; integers may be given signed or unsigned.
fn number(value: &Value, ty: &ValType) -> Option<Val> {
    match ty {
        ValType::I32 => {
            let n = value.as_i64()?;
            let signed = i32::try_from(n).ok();
            signed.or_else(|| u32::try_from(n).ok().map(u32::cast_signed)).map(Val::I32)
        }
        ValType::I64 => {
            value.as_i64().or_else(|| value.as_u64().map(u64::cast_signed)).map(Val::I64)
        }
        ValType::F32 => value.as_f64().map(|n| Val::F32((n as f32).to_bits())),
        ValType::F64 => value.as_f64().map(|n| Val::F64(n.to_bits())),
        _ => None,
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
            let many: Vec<Number> = several.iter().map(Number).collect();
            rmp_serde::encode::write(&mut out, &many)
        }
    };
    written.map_err(|e| bad(&e))?;
    Ok(out)
}

fn write(out: &mut Vec<u8>, value: &Val) -> Result<(), rmp_serde::encode::Error> {
    rmp_serde::encode::write(out, &Number(value))
}

struct Number<'a>(&'a Val);

impl serde::Serialize for Number<'_> {
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
