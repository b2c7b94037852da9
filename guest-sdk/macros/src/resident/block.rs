//! An impl as the macro sees it: its type, and its functions but for their bodies.
//!
//! Owns: where its items begin and end. Does not: judge. Invariant: no function that is kept
//! says `Self`: what is generated stands beside the impl, where that word means nothing.

use crate::function::Function;
use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};
use quote::ToTokens;
use syn::parse::{Parse, ParseStream};
use syn::{Attribute, Generics, Token, Type, Visibility};

/// An impl.
pub(super) struct Block {
    pub(super) attributes: Vec<Attribute>,
    pub(super) generics: Generics,
    /// The trait that it is of, if it is of one.
    pub(super) of_trait: Option<Type>,
    pub(super) ty: Type,
    /// Those that are not private.
    pub(super) functions: Vec<Function>,
}

impl Parse for Block {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let attributes = input.call(Attribute::parse_outer)?;
        input.parse::<Option<Token![unsafe]>>()?;
        if !input.peek(Token![impl]) {
            return Err(input.error("`#[resident]` goes on the `impl` of a type"));
        }
        input.parse::<Token![impl]>()?;
        let mut generics: Generics = input.parse()?;
        let first: Type = input.parse()?;
        let (of_trait, ty) = match input.parse::<Option<Token![for]>>()? {
            Some(_) => (Some(first), input.parse()?),
            None => (None, first),
        };
        generics.where_clause = input.parse()?;
        let content;
        syn::braced!(content in input);
        content.call(Attribute::parse_inner)?;
        let mut functions = Vec::new();
        while !content.is_empty() {
            functions.extend(item(&content, &ty)?);
        }
        Ok(Self { attributes, generics, of_trait, ty, functions })
    }
}

/// The next item, if it is a function that is not private.
fn item(input: ParseStream<'_>, ty: &Type) -> syn::Result<Option<Function>> {
    let attributes = input.call(Attribute::parse_outer)?;
    let visibility: Visibility = input.parse()?;
    if !Function::is_next(input) {
        skip(input)?;
        return Ok(None);
    }
    let function = Function::parse_rest(attributes, visibility, input)?;
    let Some(mut function) = function.filter(|f| !is_private(f)) else {
        return Ok(None);
    };
    let named = named(function.signature.to_token_stream(), &ty.to_token_stream());
    function.signature = syn::parse2(named)?;
    Ok(Some(function))
}

fn is_private(function: &Function) -> bool {
    matches!(function.visibility, Visibility::Inherited)
}

/// Passes over an item that is no function: a constant, a type, a macro.
fn skip(input: ParseStream<'_>) -> syn::Result<()> {
    let is_macro = !input.peek(Token![const]) && !input.peek(Token![type]);
    while !input.is_empty() {
        match input.parse()? {
            TokenTree::Punct(punct) if punct.as_char() == ';' => break,
            TokenTree::Group(group) if is_macro && group.delimiter() == Delimiter::Brace => break,
            _ => {}
        }
    }
    Ok(())
}

/// The same with the type's name for each `Self`, in its place.
fn named(tokens: TokenStream, ty: &TokenStream) -> TokenStream {
    let one = |token: TokenTree| match token {
        TokenTree::Ident(ident) if ident == "Self" => ty
            .clone()
            .into_iter()
            .map(|mut token| {
                token.set_span(token.span().located_at(ident.span()));
                token
            })
            .collect(),
        TokenTree::Group(group) => {
            let mut inner = Group::new(group.delimiter(), named(group.stream(), ty));
            inner.set_span(group.span());
            TokenTree::Group(inner).into()
        }
        token => TokenStream::from(token),
    };
    tokens.into_iter().map(one).collect()
}
