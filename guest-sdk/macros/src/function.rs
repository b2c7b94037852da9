//! A function as the macros see it: all but its body.
//!
//! Owns: where a function begins and ends, what it takes. Does not: judge; `check` does.
//! Invariant: a body is nobody's business here: it may be half written.

use crate::record::Field;
use crate::text;
use proc_macro2::{Delimiter, Ident, TokenStream, TokenTree};
use quote::quote;
use syn::ext::IdentExt;
use syn::parse::ParseStream;
use syn::{Attribute, FnArg, Pat, PatType, ReturnType, Signature, Token, Type, Visibility};

/// A function up to its body.
pub(crate) struct Function {
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) visibility: Visibility,
    pub(crate) signature: Signature,
}

impl Function {
    /// Whether a function comes next, behind its attributes and its visibility.
    pub(crate) fn is_next(input: ParseStream<'_>) -> bool {
        let is_const_fn = input.peek(Token![const])
            && (input.peek2(Token![fn])
                || input.peek2(Token![async])
                || input.peek2(Token![unsafe])
                || input.peek2(Token![extern]));
        input.peek(Token![fn])
            || input.peek(Token![async])
            || input.peek(Token![unsafe])
            || input.peek(Token![extern])
            || is_const_fn
    }

    /// Reads signature and body; without a body it is nothing.
    pub(crate) fn parse_rest(
        attributes: Vec<Attribute>,
        visibility: Visibility,
        input: ParseStream<'_>,
    ) -> syn::Result<Option<Self>> {
        let signature = input.parse()?;
        let body = input.parse::<Option<TokenTree>>()?;
        let is_body =
            matches!(body, Some(TokenTree::Group(g)) if g.delimiter() == Delimiter::Brace);
        Ok(is_body.then_some(Self { attributes, visibility, signature }))
    }

    /// The arguments that have a type, in order.
    pub(crate) fn arguments(&self) -> impl Iterator<Item = &PatType> {
        self.signature.inputs.iter().filter_map(|input| match input {
            FnArg::Typed(argument) => Some(argument),
            FnArg::Receiver(_) => None,
        })
    }

    /// The names of the arguments, once it is checked that they are names.
    pub(crate) fn names(&self) -> Vec<Ident> {
        let name = |argument: &PatType| match &*argument.pat {
            Pat::Ident(pattern) => Some(pattern.ident.clone()),
            _ => None,
        };
        self.arguments().filter_map(name).collect()
    }

    pub(crate) fn types(&self) -> Vec<&Type> {
        self.arguments().map(|argument| &*argument.ty).collect()
    }

    /// The arguments for the custom section.
    pub(crate) fn fields(&self) -> Vec<Field> {
        let field = |(name, ty): (&Ident, &Type)| Field {
            name: name.unraw().to_string(),
            ty: text::of(ty),
        };
        self.names().iter().zip(self.types()).map(field).collect()
    }

    /// The arguments as `name: type`, for who is told that one does not fit.
    pub(crate) fn written(&self) -> Vec<String> {
        self.fields().iter().map(|field| format!("{}: {}", field.name, field.ty)).collect()
    }

    /// An expression of the arguments' values, to be encoded.
    pub(crate) fn values(&self) -> TokenStream {
        let names = self.names();
        match names.is_empty() {
            true => quote!([(); 0]),
            false => quote!((#(#names,)*)),
        }
    }

    pub(crate) fn returned(&self) -> Option<&Type> {
        match &self.signature.output {
            ReturnType::Default => None,
            ReturnType::Type(_, ty) => Some(ty),
        }
    }

    pub(crate) fn docs(&self) -> String {
        text::docs(&self.attributes)
    }
}
