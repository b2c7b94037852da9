//! What can be a resident.
//!
//! Owns: which functions of an impl are constructors and methods, the rules beyond those for
//! any function, and what is said to who breaks them. Invariant: a rule says what to write
//! instead, and no rule hides another.

use super::{Block, Class, Kind, Part};
use crate::check;
use crate::function::Function;
use crate::mistakes::Mistakes;
use crate::options::Options;
use crate::returns::{Returns, result_arguments};
use crate::text;
use proc_macro2::{Ident, Span};
use quote::ToTokens;
use syn::ext::IdentExt;
use syn::{Error, Receiver, Type};

/// The class that an impl makes. Reports all that keeps it from being one.
pub(super) fn class(block: Block, options: &Options, mistakes: &mut Mistakes) -> Option<Class> {
    check::generics("a resident", &block.generics, mistakes);
    if let Some(name) = &block.of_trait {
        mistakes.add(Error::new_spanned(
            name,
            "`#[resident]` goes on the type's own `impl`, not on one of a trait",
        ));
        return None;
    }
    let ident = ident(&block.ty, options, mistakes)?;
    let docs = text::docs(&block.attributes);
    let ty = block.ty;
    let parts: Vec<_> = block.functions.into_iter().filter_map(|f| part(f, &ty)).collect();
    for part in &parts {
        each(part, &ident, &ty, mistakes);
    }
    twice(&parts, mistakes);
    pair(&parts, mistakes);
    if !parts.iter().any(|part| part.kind == Kind::Constructor) {
        mistakes.add(Error::new_spanned(
            &ty,
            "a resident needs a constructor: a public function that returns `Self`",
        ));
    }
    Some(Class { ty, ident, docs, parts })
}

/// The name of the module with its calls.
fn ident(ty: &Type, options: &Options, mistakes: &mut Mistakes) -> Option<Ident> {
    let Type::Path(path) = ty else {
        let message = "a resident is of a type with a name: a struct or an enum";
        mistakes.add(Error::new_spanned(ty, message));
        return None;
    };
    let last = &path.path.segments.last()?.ident;
    let (name, span) = match &options.name {
        Some(text) => (text.value(), text.span()),
        None => (snake_case(&last.unraw().to_string()), last.span()),
    };
    // A word of the language's own is a name when it is raw.
    let parsed = syn::parse_str::<Ident>(&name).or_else(|_| syn::parse_str(&format!("r#{name}")));
    match parsed {
        Ok(mut ident) => {
            ident.set_span(span);
            Some(ident)
        }
        Err(_) => {
            let message = format!(
                "a resident's name is that of the module with its calls, which `{name}` cannot \
                 be: write `#[resident(name = \"...\")]`"
            );
            mistakes.add(Error::new(span, message));
            None
        }
    }
}

/// `TupleServer` as `tuple_server`, `HTTPServer` as `http_server`.
fn snake_case(name: &str) -> String {
    let letters: Vec<_> = name.chars().collect();
    let mut text = String::new();
    for (n, &letter) in letters.iter().enumerate() {
        let before = n.checked_sub(1).map(|n| letters[n]);
        let begins_word = before.is_some_and(|before| {
            let ends_capitals = letters.get(n + 1).is_some_and(|next| next.is_lowercase());
            before != '_' && (!before.is_uppercase() || ends_capitals)
        });
        if letter.is_uppercase() && begins_word {
            text.push('_');
        }
        text.extend(letter.to_lowercase());
    }
    text
}

/// What a function is to the resident; nothing if it is not for slaves to call.
fn part(function: Function, ty: &Type) -> Option<Part> {
    let receiver = function.signature.receiver();
    let kind = match function.signature.ident.unraw().to_string().as_str() {
        "save" => Kind::Save,
        "load" => Kind::Load,
        _ if makes(&function, ty) => Kind::Constructor,
        _ if receiver.is_some() => Kind::Method,
        _ => return None,
    };
    Some(Part { function, kind })
}

/// Whether a function returns the type, or a `Result` of it.
fn makes(function: &Function, ty: &Type) -> bool {
    let is_it = |returned: &Type| text::of(returned) == text::of(ty);
    function.returned().is_some_and(|returned| match result_arguments(returned) {
        Some(arguments) => arguments.first().is_some_and(is_it),
        None => is_it(returned),
    })
}

/// Reports what is wrong with one function by itself.
fn each(part: &Part, class: &Ident, ty: &Type, mistakes: &mut Mistakes) {
    let Part { function, kind } = part;
    let (signature, one) = (&function.signature, if kind.makes() { CONSTRUCTOR } else { METHOD });
    let ident = &signature.ident;
    check::name(one, &format!("{}.{}", class.unraw(), ident.unraw()), ident.span(), mistakes);
    let mut refuse = |at: &dyn ToTokens, message: &str| {
        mistakes.add(Error::new_spanned(at, message));
    };
    match (kind, signature.receiver()) {
        (Kind::Constructor, Some(receiver)) => refuse(
            receiver,
            "a constructor takes no `self`: it is called before there is one; what is called \
             afterwards returns something else",
        ),
        (Kind::Load, Some(receiver)) => refuse(
            receiver,
            "`load` takes no `self`: it makes the resident again, of what `save` gave; name \
             another method otherwise",
        ),
        (Kind::Save, None) => refuse(ident, "`save` takes `&self`, and gives what `load` takes"),
        (Kind::Save, Some(receiver)) if borrows(receiver, ty) != Some(Borrow::Shared) => {
            refuse(receiver, "`save` takes `&self`: the resident goes on as it was");
        }
        (Kind::Method, Some(receiver)) if borrows(receiver, ty).is_none() => refuse(
            receiver,
            "a method of a resident takes `&mut self` or `&self`: the resident stays where it is",
        ),
        _ => {}
    }
    let arguments: Vec<_> = function.arguments().collect();
    match (kind, arguments.as_slice()) {
        (Kind::Save, [first, ..]) => refuse(first, "`save` takes nothing but `&self`"),
        (Kind::Load, []) => refuse(ident, "`load` takes what `save` gives"),
        (Kind::Load, [_, second, ..]) => {
            refuse(second, "`load` takes what `save` gives, and nothing else");
        }
        _ => {}
    }
    if *kind == Kind::Load && !makes(function, ty) {
        let message = "`load` makes the resident again: it returns `Self`, or `Result<Self, E>`";
        match function.returned() {
            Some(returned) => refuse(returned, message),
            None => refuse(ident, message),
        }
    }
    check::function(one, function, mistakes);
}

const CONSTRUCTOR: &str = "a constructor";
const METHOD: &str = "a method";

/// How a method takes its resident.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Borrow {
    Shared,
    Mutable,
}

/// How a receiver borrows; nothing if it does not.
pub(super) fn borrows(receiver: &Receiver, ty: &Type) -> Option<Borrow> {
    let Type::Reference(reference) = &*receiver.ty else { return None };
    // What is short for `self: &Self` was not written, so it was not given its name.
    let of = text::of(&reference.elem);
    (of == "Self" || of == text::of(ty)).then_some(match reference.mutability {
        Some(_) => Borrow::Mutable,
        None => Borrow::Shared,
    })
}

/// Reports names that are there twice, unless conditions keep them apart.
fn twice(parts: &[Part], mistakes: &mut Mistakes) {
    for (n, part) in parts.iter().enumerate() {
        let name = part.function.signature.ident.unraw();
        let clashes = |other: &Part| {
            let is_conditional = |part: &Part| part.conditions().next().is_some();
            other.function.signature.ident.unraw() == name
                && !(is_conditional(other) && is_conditional(part))
        };
        if parts[..n].iter().any(clashes) {
            let message = format!("there are two functions `{name}`: a call could mean either");
            mistakes.add(Error::new(part.function.signature.ident.span(), message));
        }
    }
}

/// Reports `save` without `load`, the other way round, and those of two types.
fn pair(parts: &[Part], mistakes: &mut Mistakes) {
    let find = |kind| parts.iter().find(|part| part.kind == kind).map(|part| &part.function);
    let mut refuse = |span: Span, message: String| mistakes.add(Error::new(span, message));
    match (find(Kind::Save), find(Kind::Load)) {
        (Some(save), None) => {
            let state = Returns::of(save.returned()).written;
            let ident = &save.signature.ident;
            refuse(
                ident.span(),
                format!("`save` without `load`: add `pub fn load(state: {state}) -> Self`"),
            );
        }
        (None, Some(load)) => {
            let state = load.types().first().map_or_else(|| "S".to_owned(), |ty| text::of(*ty));
            let ident = &load.signature.ident;
            refuse(
                ident.span(),
                format!("`load` without `save`: add `pub fn save(&self) -> {state}`"),
            );
        }
        (Some(save), Some(load)) => {
            let given = Returns::of(save.returned()).written;
            // An alias of `Result` cannot be seen through.
            let Some(taken) = load.types().into_iter().next().filter(|_| given != "_") else {
                return;
            };
            let written = text::of(taken);
            if written != given {
                mistakes.add(Error::new_spanned(
                    taken,
                    format!("`save` gives `{given}` and `load` takes `{written}`: write the same"),
                ));
            }
        }
        (None, None) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::snake_case;

    #[test]
    fn names_are_as_modules_have_them() {
        for (name, snake) in [
            ("Counter", "counter"),
            ("TupleServer", "tuple_server"),
            ("HTTPServer", "http_server"),
            ("Part2Of3", "part2_of3"),
            ("already_so", "already_so"),
            ("Half_So", "half_so"),
            ("X", "x"),
        ] {
            assert_eq!(snake_case(name), snake);
        }
    }
}
