//! `#[resident]`: an impl becomes a class of residents, with typed calls on the host.
//!
//! Owns: the order of things: read, check everything, then expand or report. Invariant:
//! the impl is given back as it came, whether or not its type can be a resident.

mod block;
mod check;
mod expand;

use crate::function::Function;
use crate::mistakes::Mistakes;
use crate::options::Options;
use crate::role::Role;
use block::Block;
use proc_macro2::{Ident, TokenStream};
use quote::quote;
use syn::{Error, Type};

/// A type whose instances can be residents.
struct Class {
    ty: Type,
    /// The name of the module with its calls; its own name is the same.
    ident: Ident,
    docs: String,
    parts: Vec<Part>,
}

/// A function of it that slaves call.
struct Part {
    function: Function,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Constructor,
    Method,
    /// `dpfw_protocol::resident::SAVE`.
    Save,
    /// `dpfw_protocol::resident::LOAD`.
    Load,
}

impl Kind {
    /// Whether it gives the resident.
    fn makes(self) -> bool {
        matches!(self, Self::Constructor | Self::Load)
    }

    /// Whether callers may call it: what saves and loads is for slaves alone.
    fn is_called(self) -> bool {
        matches!(self, Self::Constructor | Self::Method)
    }
}

/// The impl, followed by what belongs to it or by what is wrong with it.
pub(crate) fn expand(options: TokenStream, item: TokenStream) -> TokenStream {
    let beside = generate(options, &item).unwrap_or_else(Error::into_compile_error);
    quote! { #item #beside }
}

fn generate(options: TokenStream, item: &TokenStream) -> Result<TokenStream, Error> {
    let mut mistakes = Mistakes::default();
    let options = Options::read(Role::Resident, options, &mut mistakes);
    let class = match syn::parse2::<Block>(item.clone()) {
        Ok(block) => check::class(block, &options, &mut mistakes),
        Err(error) => {
            mistakes.add(error);
            None
        }
    };
    mistakes.finish()?;
    Ok(class.map_or_else(TokenStream::new, |class| expand::beside(&class)))
}
