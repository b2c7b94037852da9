//! What functions return, and what has to be true of types that travel.
//!
//! Owns: `Result`, told by that name; bounds. Invariant: bounds are made of the user's tokens:
//! what a type does not fulfil is reported once, at the type.

use crate::text;
use proc_macro2::TokenStream;
use quote::{ToTokens, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{GenericArgument, PathArguments, Type, parse_quote};

/// What a function returns.
pub(crate) struct Returns {
    /// The type of the result; of success if it is fallible.
    pub(crate) value: Type,
    /// The value's type as written, as far as it is.
    pub(crate) written: String,
    /// The error of a fallible function, if its type is written there.
    pub(crate) error: Option<Type>,
    /// Whether it is a `Result`.
    pub(crate) fallible: bool,
}

impl Returns {
    pub(crate) fn of(ty: Option<&Type>) -> Self {
        let Some(ty) = ty else {
            return Self::plain(&parse_quote!(()));
        };
        let Some(arguments) = result_arguments(ty) else {
            return Self::plain(ty);
        };
        let mut types = arguments.into_iter();
        let (value, written) = match types.next() {
            Some(value) => (value.clone(), text::of(&value)),
            None => {
                (parse_quote!(<#ty as ::dpfw_guest::__private::Fallible>::Value), "_".to_owned())
            }
        };
        Self { value, written, error: types.next(), fallible: true }
    }

    fn plain(ty: &Type) -> Self {
        Self { value: ty.clone(), written: text::of(ty), error: None, fallible: false }
    }
}

/// The generic arguments of a type that is called `Result`.
pub(crate) fn result_arguments(ty: &Type) -> Option<Vec<Type>> {
    let path = match ty {
        Type::Path(path) => &path.path,
        Type::Paren(paren) => return result_arguments(&paren.elem),
        Type::Group(group) => return result_arguments(&group.elem),
        _ => return None,
    };
    let last = path.segments.last().filter(|segment| segment.ident == "Result")?;
    let PathArguments::AngleBracketed(arguments) = &last.arguments else {
        return Some(Vec::new());
    };
    let types = arguments.args.iter().filter_map(|argument| match argument {
        GenericArgument::Type(ty) => Some(ty.clone()),
        _ => None,
    });
    Some(types.collect())
}

/// That everything can travel. The same on both sides, so that the host's compiler
/// already says what the module's would.
pub(crate) fn bounds<'a>(
    travel: impl IntoIterator<Item = &'a Type>,
    error: Option<&Type>,
) -> TokenStream {
    let mut seen = Vec::new();
    let mut clauses = TokenStream::new();
    for ty in travel.into_iter().filter(|ty| !is_known(ty)) {
        let written = ty.to_token_stream().to_string();
        if !seen.contains(&written) {
            clauses.extend(quote_spanned! {ty.span()=>
                #ty: ::dpfw_guest::__private::Serialize
                    + ::dpfw_guest::__private::DeserializeOwned,
            });
            seen.push(written);
        }
    }
    if let Some(ty) = error {
        clauses.extend(quote_spanned!(ty.span()=> #ty: ::core::fmt::Display,));
    }
    quote!(where #clauses)
}

/// Types that need no bound, to keep the documentation of a call short.
fn is_known(ty: &Type) -> bool {
    const KNOWN: [&str; 17] = [
        "bool", "char", "String", "u8", "u16", "u32", "u64", "u128", "usize", "i8", "i16", "i32",
        "i64", "i128", "isize", "f32", "f64",
    ];
    match ty {
        Type::Path(path) => KNOWN.iter().any(|known| path.path.is_ident(known)),
        Type::Tuple(tuple) => tuple.elems.is_empty(),
        _ => false,
    }
}
