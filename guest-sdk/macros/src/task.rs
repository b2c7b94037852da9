//! `#[task]` and `#[init]`: a function becomes a task of the module, or what its images are made
//! by, and a typed call on the host.
//!
//! Owns: the order of things: read, check everything, then expand or report. Invariant:
//! the function is given back as it came, whether or not it can be a task.

mod expand;

use crate::check;
use crate::function::Function;
use crate::mistakes::Mistakes;
use crate::options::Options;
use crate::role::Role;
use proc_macro2::TokenStream;
use quote::quote;
use syn::ext::IdentExt;
use syn::parse::{ParseStream, Parser};
use syn::{Attribute, Error, FnArg};

/// The function, followed by what belongs to it or by what is wrong with it.
pub(crate) fn expand(role: Role, options: TokenStream, item: TokenStream) -> TokenStream {
    let beside = generate(role, options, &item).unwrap_or_else(Error::into_compile_error);
    quote! { #item #beside }
}

fn generate(role: Role, options: TokenStream, item: &TokenStream) -> Result<TokenStream, Error> {
    let mut mistakes = Mistakes::default();
    let options = Options::read(role, options, &mut mistakes);
    match (|input: ParseStream<'_>| parse(role, input)).parse2(item.clone()) {
        Ok(function) => {
            check(role, &function, &options, &mut mistakes);
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

/// A function and nothing behind it.
fn parse(role: Role, input: ParseStream<'_>) -> syn::Result<Function> {
    let attributes = input.call(Attribute::parse_outer)?;
    let visibility = input.parse()?;
    if !Function::is_next(input) {
        return Err(input.error(format!("`#[{}]` goes on a function", role.record())));
    }
    let function = Function::parse_rest(attributes, visibility, input)?;
    function.ok_or_else(|| input.error(format!("{} has a body", role.one())))
}

/// Reports all that keeps a function from being a task.
fn check(role: Role, function: &Function, options: &Options, mistakes: &mut Mistakes) {
    let (one, signature) = (role.one(), &function.signature);
    match &options.name {
        Some(name) => check::name(one, &name.value(), name.span(), mistakes),
        None => {
            let ident = &signature.ident;
            check::name(one, &ident.unraw().to_string(), ident.span(), mistakes);
        }
    }
    if let Some(token) = &signature.constness {
        let message =
            format!("{one} is not `const`: move the body into a `const fn` and call that");
        mistakes.add(Error::new(token.span, message));
    }
    if let Some(FnArg::Receiver(receiver)) = signature.inputs.first() {
        let message = format!(
            "{one} is a free function: it starts in a fresh sandbox, where there is no `self`"
        );
        mistakes.add(Error::new_spanned(receiver, message));
    }
    check::function(one, function, mistakes);
}
