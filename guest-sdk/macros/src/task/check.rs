//! What can be a task.
//!
//! Owns: the rules and what is said to who breaks them. Does not: know which types are
//! `Serialize`; bounds in the expansion tell that, at the type. Invariant: a rule says what
//! to write instead, and no rule hides another.

use super::{Function, Mistakes, Options};
use crate::text;
use proc_macro2::Span;
use syn::spanned::Spanned;
use syn::visit::Visit;
use syn::{
    Error, FnArg, GenericParam, Pat, PatType, Signature, Type, TypeImplTrait, TypeReference,
};

/// The longest name of a task in bytes; `dpfw_protocol::limits::MAX_NAME`.
const MAX_NAME: usize = 1024;

/// The most arguments: serde knows no longer tuples.
const MAX_ARGUMENTS: usize = 16;

/// Reports all that keeps a function from being a task.
pub(super) fn function(function: &Function, options: &Options, mistakes: &mut Mistakes) {
    let signature = &function.signature;
    name(signature, options, mistakes);
    qualifiers(signature, mistakes);
    generics(signature, mistakes);
    for input in &signature.inputs {
        match input {
            FnArg::Receiver(receiver) => mistakes.add(Error::new_spanned(
                receiver,
                "a task is a free function: it starts in a fresh sandbox, where there is no `self`",
            )),
            FnArg::Typed(typed) => argument(typed, mistakes),
        }
    }
    if let Some(extra) = signature.inputs.iter().nth(MAX_ARGUMENTS) {
        let message =
            format!("a task takes at most {MAX_ARGUMENTS} arguments: put some into a struct");
        mistakes.add(Error::new_spanned(extra, message));
    }
    if let Some(variadic) = &signature.variadic {
        mistakes.add(Error::new_spanned(variadic, "a task has a fixed number of arguments"));
    }
    if let Some(ty) = function.returned() {
        Types { place: Place::Result, mistakes }.visit_type(ty);
    }
}

fn name(signature: &Signature, options: &Options, mistakes: &mut Mistakes) {
    let (name, span) = match &options.name {
        Some(text) => (text.value(), text.span()),
        None => (signature.ident.to_string(), signature.ident.span()),
    };
    if name.is_empty() || name.chars().any(char::is_control) {
        mistakes.add(Error::new(span, "a task's name is a printable text"));
    }
    if name.len() > MAX_NAME {
        let message =
            format!("a task's name has at most {MAX_NAME} bytes; this one has {}", name.len());
        mistakes.add(Error::new(span, message));
    }
}

fn qualifiers(signature: &Signature, mistakes: &mut Mistakes) {
    let mut refuse = |span: Option<Span>, message: &str| {
        if let Some(span) = span {
            mistakes.add(Error::new(span, message));
        }
    };
    refuse(
        signature.constness.map(|t| t.span),
        "a task is not `const`: move the body into a `const fn` and call that",
    );
    refuse(
        signature.asyncness.map(|t| t.span),
        "a task is not `async`: it has a sandbox of its own and may simply wait",
    );
    refuse(
        signature.unsafety.map(|t| t.span),
        "a task is not `unsafe`: its arguments come from another process, which promises nothing",
    );
    refuse(
        signature.abi.as_ref().map(Spanned::span),
        "a task is a plain Rust function; the macro makes the export",
    );
}

fn generics(signature: &Signature, mistakes: &mut Mistakes) {
    for parameter in &signature.generics.params {
        let message = match parameter {
            GenericParam::Lifetime(_) => {
                "a task has no lifetimes: it owns its arguments and its result"
            }
            GenericParam::Type(_) | GenericParam::Const(_) => {
                "a task is not generic: its types are fixed when the module is built"
            }
        };
        mistakes.add(Error::new_spanned(parameter, message));
    }
    if let (true, Some(clause)) =
        (signature.generics.params.is_empty(), &signature.generics.where_clause)
    {
        mistakes.add(Error::new_spanned(clause, "a task has no `where` clause: it is not generic"));
    }
}

fn argument(argument: &PatType, mistakes: &mut Mistakes) {
    let is_name = matches!(
        &*argument.pat,
        Pat::Ident(pattern) if pattern.by_ref.is_none() && pattern.subpat.is_none()
    );
    if !is_name {
        mistakes.add(Error::new_spanned(
            &argument.pat,
            "an argument of a task has a name: take it apart in the body",
        ));
    }
    for attribute in &argument.attrs {
        if attribute.path().is_ident("cfg") || attribute.path().is_ident("cfg_attr") {
            mistakes.add(Error::new_spanned(
                attribute,
                "the arguments of a task are the same on the host and in the module",
            ));
        }
    }
    Types { place: Place::Argument, mistakes }.visit_type(&argument.ty);
}

#[derive(Clone, Copy)]
enum Place {
    Argument,
    Result,
}

/// Finds what cannot travel, however deep it is in a type.
struct Types<'a> {
    place: Place,
    mistakes: &'a mut Mistakes,
}

impl<'ast> Visit<'ast> for Types<'_> {
    fn visit_type_reference(&mut self, reference: &'ast TypeReference) {
        let (written, owned) = (text::of(reference), owned(&reference.elem));
        let message = match self.place {
            Place::Argument => {
                format!("a task owns its arguments: take `{owned}` instead of `{written}`")
            }
            Place::Result => {
                format!("a task gives its result away: return `{owned}` instead of `{written}`")
            }
        };
        self.mistakes.add(Error::new_spanned(reference, message));
    }

    fn visit_type_impl_trait(&mut self, ty: &'ast TypeImplTrait) {
        self.mistakes.add(Error::new_spanned(
            ty,
            "the types of a task are named: both sides have to know them",
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
