//! The options in `#[task(...)]`.
//!
//! Owns: their spelling. Invariant: each mistake is reported at its option, and the
//! options around it are still read.

use super::{Mistakes, Role};
use proc_macro2::{Ident, TokenStream, TokenTree};
use syn::parse::{Parse, ParseStream};
use syn::{Error, LitStr, Path, Token, ext::IdentExt};

/// What is said about a task.
#[derive(Default)]
pub(super) struct Options {
    pub(super) once: bool,
    pub(super) effect_free: bool,
    pub(super) name: Option<LitStr>,
    /// The init of the image that it runs on.
    pub(super) image: Option<Path>,
}

impl Options {
    /// Reads all options that can be read.
    pub(super) fn read(role: Role, tokens: TokenStream, mistakes: &mut Mistakes) -> Self {
        let mut options = Self::default();
        if role == Role::Init && !tokens.is_empty() {
            mistakes.add(Error::new_spanned(tokens, "an init takes no options"));
            return options;
        }
        let mut seen = Vec::new();
        for tokens in split(tokens) {
            let option = match syn::parse2::<Given>(tokens) {
                Ok(option) => option,
                Err(error) => {
                    mistakes.add(error);
                    continue;
                }
            };
            let name = option.key.unraw().to_string();
            if let Err(error) = options.take(option, &seen) {
                mistakes.add(error);
            }
            seen.push(name);
        }
        options
    }

    fn take(&mut self, option: Given, seen: &[String]) -> Result<(), Error> {
        let key = option.key.unraw().to_string();
        let at = |message: String| Err(Error::new(option.key.span(), message));
        if !["once", "effect_free", "name", "image"].contains(&key.as_str()) {
            return at(format!(
                "unknown option `{key}`: a task takes `once`, `effect_free`, `name = \"...\"` and \
                 `image = INIT`"
            ));
        }
        if seen.contains(&key) {
            return at(format!("`{key}` is given twice"));
        }
        match (key.as_str(), option.value) {
            ("name", Some(Value::Text(text))) => self.name = Some(text),
            ("name", _) => return at("write `name = \"...\"`".to_owned()),
            ("image", Some(Value::Path(path))) => self.image = Some(path),
            ("image", _) => {
                return at("write `image = build`, where `build` is an `#[init]`".to_owned());
            }
            (_, Some(Value::Text(_) | Value::Path(_) | Value::Other)) => {
                return at(format!("`{key}` takes no value"));
            }
            ("once", None) => self.once = true,
            (_, None) => self.effect_free = true,
        }
        if self.once && self.effect_free {
            return at("a task is `once` or `effect_free`: what may not be repeated cannot be \
                       tried twice at once"
                .to_owned());
        }
        Ok(())
    }
}

/// An option as it stands there.
struct Given {
    key: Ident,
    value: Option<Value>,
}

enum Value {
    Text(LitStr),
    Path(Path),
    Other,
}

impl Parse for Given {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let key = input.call(Ident::parse_any).map_err(|e| {
            let known = "expected `once`, `effect_free`, `name = \"...\"` or `image = INIT`";
            Error::new(e.span(), known)
        })?;
        let text = match input.parse::<Option<Token![=]>>()? {
            Some(_) if input.peek(LitStr) => Some(Value::Text(input.parse()?)),
            Some(_) if is_path(input) => Some(Value::Path(Path::parse_mod_style(input)?)),
            Some(_) => Some(Value::Other),
            None => None,
        };
        let rest: TokenStream = input.parse()?;
        let value = if rest.is_empty() { text } else { Some(Value::Other) };
        Ok(Self { key, value })
    }
}

/// Whether what comes is a path and no other word.
fn is_path(input: ParseStream<'_>) -> bool {
    let is_word =
        input.peek(Token![crate]) || input.peek(Token![self]) || input.peek(Token![super]);
    is_word || input.peek(syn::Ident) || input.peek(Token![::])
}

/// The parts between commas.
fn split(tokens: TokenStream) -> Vec<TokenStream> {
    let mut parts = Vec::new();
    let mut part = TokenStream::new();
    for token in tokens {
        match token {
            TokenTree::Punct(punct) if punct.as_char() == ',' => {
                parts.push(std::mem::take(&mut part));
            }
            token => part.extend([token]),
        }
    }
    parts.push(part);
    parts.retain(|part| !part.is_empty());
    parts
}
