//! `#[derive(Shape)]`: the fields of a type, for the custom section.
//!
//! Owns: how structs and enums are told as fields. Does not: look at serde's attributes:
//! a shape is the Rust source's. Invariant: a field that is added, removed, renamed,
//! moved or given another type changes the record.

use crate::record::{Field, Type};
use crate::text;
use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::ext::IdentExt;
use syn::{Data, DeriveInput, Error, Fields};

/// The implementation of the marker, and the record.
pub(crate) fn expand(item: TokenStream) -> TokenStream {
    let input: DeriveInput = match syn::parse2(item) {
        Ok(input) => input,
        Err(error) => return error.into_compile_error(),
    };
    let (name, (impl_generics, ty_generics, bounds)) =
        (&input.ident, input.generics.split_for_impl());
    let implementation = quote! {
        #[automatically_derived]
        impl #impl_generics ::dpfw_guest::Shape for #name #ty_generics #bounds {}
    };
    match fields(&input) {
        Ok(fields) => {
            let record = Type { name: name.unraw().to_string(), fields }.section();
            quote! { #implementation #record }
        }
        Err(error) => {
            let error = error.into_compile_error();
            quote! { #implementation #error }
        }
    }
}

fn fields(input: &DeriveInput) -> Result<Vec<Field>, Error> {
    match &input.data {
        Data::Struct(data) => Ok(of_struct(&data.fields)),
        Data::Enum(data) => Ok(data
            .variants
            .iter()
            .map(|v| Field { name: v.ident.unraw().to_string(), ty: of_variant(&v.fields) })
            .collect()),
        Data::Union(data) => Err(Error::new(
            data.union_token.span,
            "a union has no shape: nobody can tell which of its fields is there; use an enum",
        )),
    }
}

fn of_struct(fields: &Fields) -> Vec<Field> {
    let named = fields.iter().enumerate().map(|(index, field)| Field {
        name: field.ident.as_ref().map_or_else(|| index.to_string(), |n| n.unraw().to_string()),
        ty: text::of(&field.ty),
    });
    named.collect()
}

/// A variant's fields as the source has them: `()`, `(u32, String)` or `{ at: u32 }`.
fn of_variant(fields: &Fields) -> String {
    let list = |separator: &dyn Fn(&syn::Field) -> String| -> String {
        fields.iter().map(separator).collect::<Vec<_>>().join(", ")
    };
    match fields {
        Fields::Unit => "()".to_owned(),
        Fields::Unnamed(_) => format!("({})", list(&|field| text::of(&field.ty))),
        Fields::Named(_) => format!(
            "{{ {} }}",
            list(&|field| {
                let name = field.ident.to_token_stream();
                format!("{name}: {}", text::of(&field.ty))
            })
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(source: &str) -> Vec<String> {
        let input: DeriveInput = syn::parse_str(source).expect("an item");
        let fields = fields(&input).expect("no union");
        fields.into_iter().map(|f| format!("{}: {}", f.name, f.ty)).collect()
    }

    #[test]
    fn structs_and_enums_are_told_as_fields() {
        assert_eq!(told("struct P { x: i64, r#type: Vec<u8> }"), ["x: i64", "type: Vec<u8>"]);
        assert_eq!(told("struct P(i64, (u8, u8));"), ["0: i64", "1: (u8, u8)"]);
        assert_eq!(told("struct P;"), [""; 0]);
        assert_eq!(
            told("enum E { A, B(u32), C { at: u32, by: String } }"),
            ["A: ()", "B: (u32)", "C: { at: u32, by: String }"]
        );
    }
}
