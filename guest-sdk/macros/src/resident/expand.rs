//! The code beside a resident's impl.
//!
//! Owns: the exports in the module, the typed calls on the host, the records of both. Does
//! not: repeat the functions. Invariant: types are resolved where the impl stands: everything
//! that mentions one is generated there, and the module with the calls only exports it again.
//! What is generated for a function is there under its conditions.

use super::check::{Borrow, borrows};
use super::{Class, Kind, Part};
use crate::record::Task;
use crate::returns::{Returns, bounds};
use crate::role::Role;
use crate::visibility::one_deeper;
use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote};
use syn::ext::IdentExt;
use syn::{Attribute, Type, Visibility, parse_quote};

/// Everything but the impl itself.
pub(super) fn beside(class: &Class) -> TokenStream {
    let described: Vec<_> = class.parts.iter().map(|part| Described::new(class, part)).collect();
    let exports = described.iter().map(Described::export);
    let records = described.iter().map(Described::section);
    let checks = described.iter().map(Described::check);
    let calls = described.iter().filter(|part| part.is_called()).map(Described::call);
    let (implementation, module) = (implementation(class), module(class, &described));
    quote! { #(#exports)* #(#records)* #(#checks)* #(#calls)* #implementation #module }
}

/// What is there on the host only.
fn host() -> TokenStream {
    quote!(#[cfg(not(target_family = "wasm"))])
}

/// That the type is a class.
fn implementation(class: &Class) -> TokenStream {
    let (ty, name, host) = (&class.ty, class.name(), host());
    quote! {
        #host
        #[automatically_derived]
        impl ::dpfw_guest::Class for #ty {
            const NAME: &'static str = #name;

            fn module() -> ::dpfw_guest::Module {
                crate::__dpfw_guest_module()
            }
        }
    }
}

/// The module with the calls, as visible as the first constructor. It is there on wasm as well,
/// with nothing in it, so that whoever exports it again need not know where it is compiled for.
fn module(class: &Class, described: &[Described<'_>]) -> TokenStream {
    let (ident, host) = (&class.ident, host());
    let constructor = class.parts.iter().find(|part| part.kind == Kind::Constructor);
    let visibility = constructor.map(|part| &part.function.visibility);
    let calls = described.iter().filter(|part| part.is_called()).map(|part| {
        let (conditions, inner) = (part.conditions(), one_deeper(part.visibility()));
        let (call, name) = (part.hidden("call"), part.ident());
        quote!(#conditions #host #[doc(inline)] #inner use super::#call as #name;)
    });
    let doc = match class.docs.as_str() {
        "" => format!("Calls of the resident `{}`.", class.name()),
        docs => docs.to_owned(),
    };
    quote! {
        #[doc = #doc]
        #[allow(unused_imports, non_snake_case, unreachable_pub)]
        #visibility mod #ident {
            #(#calls)*
        }
    }
}

impl Class {
    /// Its name in the module.
    fn name(&self) -> String {
        self.ident.unraw().to_string()
    }
}

impl Part {
    /// Its `#[cfg]`s.
    pub(super) fn conditions(&self) -> impl Iterator<Item = &Attribute> {
        self.function.attributes.iter().filter(|attribute| attribute.path().is_ident("cfg"))
    }
}

/// A function with all that the expansion needs of it.
struct Described<'a> {
    class: &'a Class,
    part: &'a Part,
    /// Its name in the module.
    name: String,
    types: Vec<&'a Type>,
    returns: Returns,
}

impl<'a> Described<'a> {
    fn new(class: &'a Class, part: &'a Part) -> Self {
        let function = &part.function;
        let mut returns = Returns::of(function.returned());
        if part.kind.makes() {
            // The resident stays where it is; `dpfw_protocol::resident::MAKES`.
            (returns.value, returns.written) = (parse_quote!(()), "Self".to_owned());
        }
        let name = format!("{}.{}", class.name(), function.signature.ident.unraw());
        Self { class, part, name, types: function.types(), returns }
    }

    fn is_called(&self) -> bool {
        self.part.kind.is_called()
    }

    fn ident(&self) -> &'a Ident {
        &self.part.function.signature.ident
    }

    fn visibility(&self) -> &'a Visibility {
        &self.part.function.visibility
    }

    fn conditions(&self) -> TokenStream {
        let conditions = self.part.conditions();
        quote!(#(#conditions)*)
    }

    /// The name of something that belongs to it, beside the impl.
    fn hidden(&self, what: &str) -> Ident {
        format_ident!("__dpfw_{what}_{}_{}", self.class.ident.unraw(), self.ident().unraw())
    }

    fn section(&self) -> TokenStream {
        let function = &self.part.function;
        let record = Task {
            name: self.name.clone(),
            args: function.fields(),
            returns: self.returns.written.clone(),
            fallible: self.returns.fallible,
            once: false,
            effect_free: false,
            doc: function.docs(),
            image: String::new(),
            role: Role::Resident,
        };
        let (conditions, section) = (self.conditions(), record.section());
        quote!(#conditions #section)
    }

    /// The export `dpfw-resident:CLASS.NAME`, in the module only.
    fn export(&self) -> TokenStream {
        let (conditions, ty, ident) = (self.conditions(), &self.class.ty, self.ident());
        let (export, class) =
            (format!("{}{}", Role::Resident.prefix(), self.name), self.class.name());
        let (types, bounds, written) = (&self.types, self.bounds(), self.part.function.written());
        let values: Vec<_> = (0..types.len()).map(|n| format_ident!("__dpfw_{n}")).collect();
        let count = types.len();
        let private = quote!(::dpfw_guest::__private);
        let reply = match (self.part.kind.makes(), self.returns.fallible) {
            (true, true) => {
                quote!(#private::try_construct(#class, || <#ty>::#ident(#(#values),*), reply))
            }
            (true, false) => {
                quote!(#private::construct(#class, || <#ty>::#ident(#(#values),*), reply))
            }
            (false, fallible) => {
                let reply = if fallible { quote!(fallible) } else { quote!(infallible) };
                quote! {
                    #private::method(#class, |this: &mut #ty| {
                        #private::#reply(<#ty>::#ident(this, #(#values),*), reply)
                    })
                }
            }
        };
        quote! {
            #conditions
            #[cfg(target_family = "wasm")]
            const _: () = {
                #[unsafe(export_name = #export)]
                extern "C" fn export(at: i32, len: i32) -> i64
                #bounds
                {
                    #private::run(
                        at,
                        len,
                        |arguments| {
                            arguments.expect(#count)?;
                            #(let #values = arguments.take::<#types>(#written)?;)*
                            ::core::result::Result::Ok((#(#values,)*))
                        },
                        |(#(#values,)*), reply| #reply,
                    )
                }
            };
        }
    }

    /// That everything can travel, told on the host as well; and that a function which only
    /// slaves call is not unused.
    fn check(&self) -> TokenStream {
        let (conditions, host, bounds) = (self.conditions(), host(), self.bounds());
        let (ty, ident, types) = (&self.class.ty, self.ident(), &self.types);
        let output = self.part.function.returned().map(|ty| quote!(-> #ty));
        let receiver = self.part.function.signature.receiver();
        let this = receiver.and_then(|receiver| borrows(receiver, ty)).map(|borrow| match borrow {
            Borrow::Shared => quote!(&#ty,),
            Borrow::Mutable => quote!(&mut #ty,),
        });
        // Those that are called have their bounds there.
        let travels =
            (!self.is_called()).then(|| quote!(#[allow(dead_code)] fn travels() #bounds {}));
        quote! {
            #conditions
            #host
            const _: () = {
                #travels
                let _: fn(#this #(#types),*) #output = <#ty>::#ident;
            };
        }
    }

    /// The typed call, on the host only.
    fn call(&self) -> TokenStream {
        let (conditions, host, visibility) = (self.conditions(), host(), self.visibility());
        let (statik, call, name) = (self.hidden("static"), self.hidden("call"), &self.name);
        let (names, types) = (self.part.function.names(), &self.types);
        let (class, value, values) =
            (&self.class.ty, &self.returns.value, self.part.function.values());
        let (given, what) = match self.part.kind.makes() {
            true => (quote!(::dpfw_guest::Spawn<#class>), "the constructor"),
            false => (quote!(::dpfw_guest::MethodCall<#class, #value>), "the method"),
        };
        let made = match self.part.kind.makes() {
            true => quote!(::dpfw_guest::Spawn::new),
            false => quote!(::dpfw_guest::MethodCall::new),
        };
        let bounds = self.bounds();
        let docs = self.part.function.docs();
        let doc = if docs.is_empty() { format!("A call of {what} `{name}`.") } else { docs };
        quote! {
            #conditions
            #host
            #[doc(hidden)]
            #[allow(non_upper_case_globals, dead_code)]
            static #statik: ::dpfw_guest::__private::StaticTask<#value> =
                ::dpfw_guest::__private::StaticTask::new(crate::__dpfw_guest_module, #name);

            #conditions
            #host
            #[doc = #doc]
            #[doc(hidden)]
            #[allow(dead_code, private_interfaces, private_bounds, non_snake_case)]
            #[allow(unreachable_pub, clippy::too_many_arguments)]
            #visibility fn #call(#(#names: #types),*) -> #given
            #bounds
            {
                #made(#statik.call(&#values))
            }
        }
    }

    fn bounds(&self) -> TokenStream {
        let value = (!self.part.kind.makes()).then_some(&self.returns.value);
        bounds(self.types.iter().copied().chain(value), self.returns.error.as_ref())
    }
}
