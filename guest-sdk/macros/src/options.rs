//! The options in `#[task(...)]` and `#[resident(...)]`.
//!
//! Owns: their spelling. Does not: know what a name may be. Invariant: each mistake is reported at its option, and the
//! options around it are still read.

use crate::mistakes::Mistakes;
use crate::role::Role;
use proc_macro2::{Ident, TokenStream, TokenTree};
use syn::parse::{ParseStream, Parser};
use syn::{Error, LitStr, Path, Token, ext::IdentExt};

/// What is said about an item.
#[derive(Default)]
pub(crate) struct Options {
    pub(crate) once: bool,
    pub(crate) effect_free: bool,
    pub(crate) name: Option<LitStr>,
    /// The init of the image that it runs on.
    pub(crate) image: Option<Path>,
}

impl Options {
    /// Reads all options that can be read.
    pub(crate) fn read(role: Role, tokens: TokenStream, mistakes: &mut Mistakes) -> Self {
        let mut options = Self::default();
        if role.options().is_empty() && !tokens.is_empty() {
            let message = format!("{} takes no options", role.one());
            mistakes.add(Error::new_spanned(tokens, message));
            return options;
        }
        let mut seen = Vec::new();
        for tokens in split(tokens) {
            let option = match (|input: ParseStream<'_>| Given::parse(role, input)).parse2(tokens) {
                Ok(option) => option,
                Err(error) => {
                    mistakes.add(error);
                    continue;
                }
            };
            let name = option.key.unraw().to_string();
            if let Err(error) = options.take(role, option, &seen) {
                mistakes.add(error);
            }
            seen.push(name);
        }
        options
    }

    fn take(&mut self, role: Role, option: Given, seen: &[String]) -> Result<(), Error> {
        let key = option.key.unraw().to_string();
        let at = |message: String| Err(Error::new(option.key.span(), message));
        if !role.options().contains(&key.as_str()) {
            let known = spelled(role, "and");
            return at(format!("unknown option `{key}`: {} takes {known}", role.one()));
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

impl Given {
    fn parse(role: Role, input: ParseStream<'_>) -> syn::Result<Self> {
        let key = input
            .call(Ident::parse_any)
            .map_err(|e| Error::new(e.span(), format!("expected {}", spelled(role, "or"))))?;
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

/// The options of a role: `` `a`, `b` and `c` ``.
fn spelled(role: Role, last: &str) -> String {
    let spell = |option: &&str| match *option {
        "name" => "`name = \"...\"`".to_owned(),
        "image" => "`image = INIT`".to_owned(),
        option => format!("`{option}`"),
    };
    let mut all: Vec<_> = role.options().iter().map(spell).collect();
    match (all.pop(), all.is_empty()) {
        (Some(end), false) => format!("{} {last} {end}", all.join(", ")),
        (end, _) => end.unwrap_or_default(),
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
