//! What can be a task, an init, or a method or a constructor of a resident.
//!
//! Owns: the rules for signatures and what is said to who breaks them. Does not: know which
//! types are `Serialize`; bounds in the expansion tell that, at the type. Invariant: a rule
//! says what to write instead, and no rule hides another.

use crate::function::Function;
use crate::mistakes::Mistakes;
use crate::text;
use proc_macro2::Span;
use syn::spanned::Spanned;
use syn::visit::Visit;
use syn::{
    Error, GenericParam, Generics, Pat, PatType, Signature, Type, TypeImplTrait, TypeReference,
};

/// The longest name of a task in bytes; `dpfw_protocol::limits::MAX_NAME`.
const MAX_NAME: usize = 1024;

/// The most arguments: serde knows no longer tuples.
const MAX_ARGUMENTS: usize = 16;

/// Reports all that keeps a function from being `one`, which is "a task" or "a method"; but
/// for `self` and `const`, of which these think differently.
pub(crate) fn function(one: &str, function: &Function, mistakes: &mut Mistakes) {
    let signature = &function.signature;
    qualifiers(one, signature, mistakes);
    generics(one, &signature.generics, mistakes);
    for typed in function.arguments() {
        argument(one, typed, mistakes);
    }
    if let Some(extra) = function.arguments().nth(MAX_ARGUMENTS) {
        let message =
            format!("{one} takes at most {MAX_ARGUMENTS} arguments: put some into a struct");
        mistakes.add(Error::new_spanned(extra, message));
    }
    if let Some(variadic) = &signature.variadic {
        let message = format!("{one} has a fixed number of arguments");
        mistakes.add(Error::new_spanned(variadic, message));
    }
    if let Some(ty) = function.returned() {
        Types { one, place: Place::Result, mistakes }.visit_type(ty);
    }
}

/// Reports what keeps this from being a name in the module.
pub(crate) fn name(one: &str, name: &str, span: Span, mistakes: &mut Mistakes) {
    if name.is_empty() || name.chars().any(char::is_control) {
        mistakes.add(Error::new(span, format!("{one}'s name is a printable text")));
    }
    if name.len() > MAX_NAME {
        let message =
            format!("{one}'s name has at most {MAX_NAME} bytes; this one has {}", name.len());
        mistakes.add(Error::new(span, message));
    }
}

fn qualifiers(one: &str, signature: &Signature, mistakes: &mut Mistakes) {
    let mut refuse = |span: Option<Span>, message: &str| {
        if let Some(span) = span {
            mistakes.add(Error::new(span, format!("{one} {message}")));
        }
    };
    refuse(
        signature.asyncness.map(|t| t.span),
        "is not `async`: it has a sandbox of its own and may simply wait",
    );
    refuse(
        signature.unsafety.map(|t| t.span),
        "is not `unsafe`: its arguments come from another process, which promises nothing",
    );
    refuse(
        signature.abi.as_ref().map(Spanned::span),
        "is a plain Rust function; the macro makes the export",
    );
}

/// Reports parameters and clauses.
pub(crate) fn generics(one: &str, generics: &Generics, mistakes: &mut Mistakes) {
    for parameter in &generics.params {
        let message = match parameter {
            GenericParam::Lifetime(_) => "has no lifetimes: it owns its arguments and its result",
            GenericParam::Type(_) | GenericParam::Const(_) => {
                "is not generic: its types are fixed when the module is built"
            }
        };
        mistakes.add(Error::new_spanned(parameter, format!("{one} {message}")));
    }
    if let (true, Some(clause)) = (generics.params.is_empty(), &generics.where_clause) {
        let message = format!("{one} has no `where` clause: it is not generic");
        mistakes.add(Error::new_spanned(clause, message));
    }
}

fn argument(one: &str, argument: &PatType, mistakes: &mut Mistakes) {
    let is_name = matches!(
        &*argument.pat,
        Pat::Ident(pattern) if pattern.by_ref.is_none() && pattern.subpat.is_none()
    );
    if !is_name {
        mistakes.add(Error::new_spanned(
            &argument.pat,
            format!("an argument of {one} has a name: take it apart in the body"),
        ));
    }
    for attribute in &argument.attrs {
        if attribute.path().is_ident("cfg") || attribute.path().is_ident("cfg_attr") {
            mistakes.add(Error::new_spanned(
                attribute,
                format!("the arguments of {one} are the same on the host and in the module"),
            ));
        }
    }
    Types { one, place: Place::Argument, mistakes }.visit_type(&argument.ty);
}

#[derive(Clone, Copy)]
enum Place {
    Argument,
    Result,
}

/// Finds what cannot travel, however deep it is in a type.
struct Types<'a> {
    one: &'a str,
    place: Place,
    mistakes: &'a mut Mistakes,
}

impl<'ast> Visit<'ast> for Types<'_> {
    fn visit_type_reference(&mut self, reference: &'ast TypeReference) {
        let (one, written, owned) = (self.one, text::of(reference), owned(&reference.elem));
        let message = match self.place {
            Place::Argument => {
                format!("{one} owns its arguments: take `{owned}` instead of `{written}`")
            }
            Place::Result => {
                format!("{one} gives its result away: return `{owned}` instead of `{written}`")
            }
        };
        self.mistakes.add(Error::new_spanned(reference, message));
    }

    fn visit_type_impl_trait(&mut self, ty: &'ast TypeImplTrait) {
        self.mistakes.add(Error::new_spanned(
            ty,
            format!("the types of {} are named: both sides have to know them", self.one),
        ));
    }

    /// What a function pointer or a trait object takes is its own affair; neither is
    /// `Serialize`, and the bounds say so.
    fn visit_type_bare_fn(&mut self, _: &'ast syn::TypeBareFn) {}

    fn visit_type_trait_object(&mut self, _: &'ast syn::TypeTraitObject) {}
}

/// What to write instead of a reference to this.
fn owned(ty: &Type) -> String {
    match ty {
        Type::Path(path) if path.path.is_ident("str") => "String".to_owned(),
        Type::Path(path) if path.path.segments.last().is_some_and(|s| s.ident == "Path") => {
            "PathBuf".to_owned()
        }
        Type::Slice(slice) => format!("Vec<{}>", owned_element(&slice.elem)),
        Type::Paren(paren) => owned(&paren.elem),
        ty => text::of(ty),
    }
}

fn owned_element(ty: &Type) -> String {
    match ty {
        Type::Reference(reference) => owned(&reference.elem),
        ty => text::of(ty),
    }
}
