//! `#[task]` and `#[init]`: a function becomes a task of the module, or what its images are made
//! by, and a typed call on the host.
//!
//! Owns: the order of things: read, check everything, then expand or report. Invariant:
//! the function is given back as it came, whether or not it can be a task.

mod check;
mod expand;
mod options;

use crate::text;
use options::Options;
use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::quote;
use syn::parse::{Parse, ParseStream};
use syn::{Attribute, Error, FnArg, Pat, PatType, ReturnType, Signature, Token, Type, Visibility};

/// What a function becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Task,
    Init,
}

impl Role {
    /// The prefix of its export; `dpfw_protocol::signature::EXPORT_PREFIX` and
    /// `dpfw_protocol::image::INIT_PREFIX`.
    fn prefix(self) -> &'static str {
        match self {
            Self::Task => "dpfw:",
            Self::Init => "dpfw-init:",
        }
    }

    /// What is said of a task holds of an init.
    fn reworded(self, error: Error) -> Error {
        let said_of_init = |error: Error| {
            let text = error.to_string();
            let text = text.replace("`#[task]`", "`#[init]`").replace("a task", "an init");
            Error::new(error.span(), text)
        };
        match self {
            Self::Task => error,
            Self::Init => {
                let mut mistakes = Mistakes::default();
                error.into_iter().map(said_of_init).for_each(|error| mistakes.add(error));
                mistakes.0.unwrap_or_else(|| Error::new(Span::call_site(), "not an init"))
            }
        }
    }
}

/// The function, followed by what belongs to it or by what is wrong with it.
pub(crate) fn expand(role: Role, options: TokenStream, item: TokenStream) -> TokenStream {
    let beside = generate(role, options, &item)
        .unwrap_or_else(|mistakes| role.reworded(mistakes).into_compile_error());
    quote! { #item #beside }
}

fn generate(role: Role, options: TokenStream, item: &TokenStream) -> Result<TokenStream, Error> {
    let mut mistakes = Mistakes::default();
    let options = Options::read(role, options, &mut mistakes);
    match syn::parse2::<Function>(item.clone()) {
        Ok(function) => {
            check::function(&function, &options, &mut mistakes);
            if role == Role::Init {
                expand::check_init(&function, &mut mistakes);
            }
            mistakes.finish()?;
            Ok(expand::beside(role, &function, &options))
        }
        Err(error) => {
            mistakes.add(error);
            mistakes.finish().map(|()| TokenStream::new())
        }
    }
}

/// All that is wrong, told at once.
#[derive(Default)]
struct Mistakes(Option<Error>);

impl Mistakes {
    fn add(&mut self, error: Error) {
        match &mut self.0 {
            Some(errors) => errors.combine(error),
            none => *none = Some(error),
        }
    }

    fn finish(self) -> Result<(), Error> {
        self.0.map_or(Ok(()), Err)
    }
}

/// A function up to its body, which is nobody's business here: it may be half written.
struct Function {
    attributes: Vec<Attribute>,
    visibility: Visibility,
    signature: Signature,
}

impl Parse for Function {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let attributes = input.call(Attribute::parse_outer)?;
        let visibility = input.parse()?;
        let starts_function = input.peek(Token![fn])
            || input.peek(Token![async])
            || input.peek(Token![unsafe])
            || input.peek(Token![extern])
            || input.peek(Token![const]) && input.peek2(Token![fn]);
        if !starts_function {
            return Err(input.error("`#[task]` goes on a function"));
        }
        let signature = input.parse()?;
        let body: TokenStream = input.parse()?;
        match body.into_iter().next() {
            Some(TokenTree::Group(_)) => Ok(Self { attributes, visibility, signature }),
            _ => Err(input.error("a task has a body")),
        }
    }
}

impl Function {
    /// The arguments that have a type, in order.
    fn arguments(&self) -> impl Iterator<Item = &PatType> {
        self.signature.inputs.iter().filter_map(|input| match input {
            FnArg::Typed(argument) => Some(argument),
            FnArg::Receiver(_) => None,
        })
    }

    /// The names of the arguments, once it is checked that they are names.
    fn names(&self) -> Vec<Ident> {
        let name = |argument: &PatType| match &*argument.pat {
            Pat::Ident(pattern) => Some(pattern.ident.clone()),
            _ => None,
        };
        self.arguments().filter_map(name).collect()
    }

    fn types(&self) -> Vec<&Type> {
        self.arguments().map(|argument| &*argument.ty).collect()
    }

    fn returned(&self) -> Option<&Type> {
        match &self.signature.output {
            ReturnType::Default => None,
            ReturnType::Type(_, ty) => Some(ty),
        }
    }

    fn docs(&self) -> String {
        text::docs(&self.attributes)
    }
}
