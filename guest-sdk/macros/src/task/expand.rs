//! The code beside a task.
//!
//! Owns: the export in the module, the typed call on the host, the record of both. Does
//! not: repeat the function. Invariant: types are resolved where the function stands:
//! everything that mentions one is generated there, and the module of the task's name
//! only exports it again.

use crate::function::Function;
use crate::mistakes::Mistakes;
use crate::options::Options;
use crate::record::Task;
use crate::returns::{Returns, bounds, result_arguments};
use crate::role::Role;
use crate::visibility::one_deeper;
use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::Type;
use syn::ext::IdentExt;
use syn::spanned::Spanned;

/// Everything but the function itself.
pub(super) fn beside(role: Role, function: &Function, options: &Options) -> TokenStream {
    let task = Described::new(role, function, options);
    let (export, record) = (task.export(), task.record().section());
    let call = match role {
        Role::Init => task.init(),
        Role::Task | Role::Resident => task.call(),
    };
    quote! { #export #call #record }
}

/// An init leaves what it makes in memory, and gives back nothing but an error.
pub(super) fn check_init(function: &Function, mistakes: &mut Mistakes) {
    let Some(ty) = function.returned() else { return };
    let value = Returns::of(Some(ty)).value;
    let is_unit = matches!(&value, Type::Tuple(tuple) if tuple.elems.is_empty());
    // An alias of `Result` cannot be seen through.
    let is_alias = result_arguments(ty).is_some_and(|arguments| arguments.is_empty());
    if !is_unit && !is_alias {
        mistakes.add(syn::Error::new_spanned(
            ty,
            "an init returns nothing, or `Result<(), E>`: what it makes stays in memory, in a \
             `static` for instance",
        ));
    }
}

/// A task with all that the expansion needs of it.
struct Described<'a> {
    role: Role,
    function: &'a Function,
    options: &'a Options,
    ident: &'a Ident,
    /// Its name in the module.
    name: String,
    names: Vec<Ident>,
    types: Vec<&'a Type>,
    returns: Returns,
}

impl<'a> Described<'a> {
    fn new(role: Role, function: &'a Function, options: &'a Options) -> Self {
        let ident = &function.signature.ident;
        let name = match &options.name {
            Some(name) => name.value(),
            None => ident.unraw().to_string(),
        };
        Self {
            role,
            function,
            options,
            ident,
            name,
            names: function.names(),
            types: function.types(),
            returns: Returns::of(function.returned()),
        }
    }

    fn record(&self) -> Task {
        Task {
            name: self.name.clone(),
            args: self.function.fields(),
            returns: self.returns.written.clone(),
            fallible: self.returns.fallible,
            once: self.options.once,
            effect_free: self.options.effect_free,
            doc: self.function.docs(),
            image: self.image().map(|(_, name)| name).unwrap_or_default(),
            role: self.role,
        }
    }

    /// The init that it needs, and its name.
    fn image(&self) -> Option<(&syn::Path, String)> {
        let path = self.options.image.as_ref()?;
        let last = path.segments.last()?;
        Some((path, last.ident.unraw().to_string()))
    }

    /// The exports `dpfw:NAME` and `dpfw-batch:NAME`, in the module only.
    fn export(&self) -> TokenStream {
        let (ident, export) = (self.ident, format!("{}{}", self.role.prefix(), self.name));
        let (types, bounds, written) = (&self.types, self.bounds(), self.function.written());
        let private = quote!(::dpfw_guest::__private);
        let batch = self.role.batch_prefix().map(|prefix| {
            let export = format!("{prefix}{}", self.name);
            quote! {
                #[unsafe(export_name = #export)]
                extern "C" fn __dpfw_batch(at: i32, len: i32) {
                    #private::run_batch(at, len, __dpfw_decode, __dpfw_answer);
                }
            }
        });
        let values: Vec<_> = (0..types.len()).map(|n| format_ident!("__dpfw_{n}")).collect();
        let count = types.len();
        let reply = match self.returns.fallible {
            true => quote!(fallible),
            false => quote!(infallible),
        };
        quote! {
            #[cfg(target_family = "wasm")]
            const _: () = {
                #[allow(clippy::type_complexity)]
                fn __dpfw_decode(
                    arguments: &mut #private::Arguments<'_>,
                ) -> ::core::result::Result<(#(#types,)*), #private::BadArguments>
                #bounds
                {
                    arguments.expect(#count)?;
                    #(let #values = arguments.take::<#types>(#written)?;)*
                    ::core::result::Result::Ok((#(#values,)*))
                }

                #[allow(clippy::type_complexity)]
                fn __dpfw_answer((#(#values,)*): (#(#types,)*), reply: &mut #private::Reply)
                #bounds
                {
                    #private::#reply(#ident(#(#values),*), reply);
                }

                #[unsafe(export_name = #export)]
                extern "C" fn __dpfw_export(at: i32, len: i32) -> i64 {
                    #private::run(at, len, __dpfw_decode, __dpfw_answer)
                }

                #batch
            };
        }
    }

    /// The typed call, on the host only.
    fn call(&self) -> TokenStream {
        let (ident, name) = (self.ident, &self.name);
        let plain = ident.unraw();
        let [statik, task, call] =
            ["static", "task", "call"].map(|part| format_ident!("__dpfw_{part}_{plain}"));
        let (names, types, value) = (&self.names, &self.types, &self.returns.value);
        let arguments = self.function.values();
        let (bounds, whole) = (self.bounds(), self.function.returned());
        let output = whole.map(|ty| quote!(-> #ty));
        let (visibility, inner) =
            (&self.function.visibility, one_deeper(&self.function.visibility));
        let (doc, doc_call, doc_task) = self.host_docs();
        let host = quote!(#[cfg(not(target_family = "wasm"))]);
        let needs = self
            .image()
            .map(|(init, _)| quote_spanned!(init.span()=> #host const _: &str = #init::INIT;));
        quote! {
            #needs

            // A task that only slaves call is not unused.
            #host
            const _: () = { let _: fn(#(#types),*) #output = #ident; };

            #host
            #[doc(hidden)]
            #[allow(non_upper_case_globals, dead_code)]
            static #statik: ::dpfw_guest::__private::StaticTask<#value> =
                ::dpfw_guest::__private::StaticTask::new(crate::__dpfw_guest_module, #name);

            #host
            #[doc = #doc_task]
            #[doc(hidden)]
            #[allow(dead_code, private_interfaces, private_bounds, non_snake_case)]
            #visibility fn #task() -> &'static ::dpfw_guest::Task<#value> {
                #statik.task()
            }

            #host
            #[doc = #doc_call]
            #[doc(hidden)]
            #[allow(dead_code, private_interfaces, private_bounds, non_snake_case)]
            #[allow(clippy::too_many_arguments)]
            #[must_use = "a call does nothing until a master dispatches it"]
            #visibility fn #call(#(#names: #types),*) -> ::dpfw_guest::Call<#value>
            #bounds
            {
                #statik.call(&#arguments)
            }

            #host
            #[doc = #doc]
            #[allow(unused_imports, non_snake_case)]
            #visibility mod #ident {
                #[doc(inline)]
                #inner use super::{#call as call, #task as task};
            }
        }
    }

    /// The typed call of an init, on the host only.
    fn init(&self) -> TokenStream {
        let (ident, name) = (self.ident, &self.name);
        let plain = ident.unraw();
        let [statik, call, konst] =
            ["static", "call", "INIT"].map(|part| format_ident!("__dpfw_{part}_{plain}"));
        let (names, types) = (&self.names, &self.types);
        let arguments = self.function.values();
        let (bounds, whole) = (self.bounds(), self.function.returned());
        let output = whole.map(|ty| quote!(-> #ty));
        let (visibility, inner) =
            (&self.function.visibility, one_deeper(&self.function.visibility));
        let docs = self.function.docs();
        let doc = if docs.is_empty() { format!("The init `{name}`.") } else { docs };
        let doc_call = format!("A call of the init `{name}`, for a master to make an image by.");
        let host = quote!(#[cfg(not(target_family = "wasm"))]);
        quote! {
            #host
            const _: () = { let _: fn(#(#types),*) #output = #ident; };

            #host
            #[doc(hidden)]
            #[allow(non_upper_case_globals, dead_code)]
            static #statik: ::dpfw_guest::__private::StaticTask<()> =
                ::dpfw_guest::__private::StaticTask::new(crate::__dpfw_guest_module, #name);

            #host
            #[doc = "Its name in the module."]
            #[doc(hidden)]
            #[allow(non_upper_case_globals, dead_code)]
            #visibility const #konst: &str = #name;

            #host
            #[doc = #doc_call]
            #[doc(hidden)]
            #[allow(dead_code, private_interfaces, private_bounds, non_snake_case)]
            #[allow(clippy::too_many_arguments)]
            #[must_use = "an init does nothing until a master is given it"]
            #visibility fn #call(#(#names: #types),*) -> ::dpfw_guest::Init
            #bounds
            {
                ::dpfw_guest::Init::new(#statik.call(&#arguments))
            }

            #host
            #[doc = #doc]
            #[allow(unused_imports, non_snake_case)]
            #visibility mod #ident {
                #[doc(inline)]
                #inner use super::{#call as call, #konst as INIT};
            }
        }
    }

    fn host_docs(&self) -> (String, String, String) {
        let name = &self.name;
        let docs = self.function.docs();
        let doc = if docs.is_empty() { format!("The task `{name}`.") } else { docs };
        let call = format!("A call of the task `{name}`, for a master to dispatch.");
        (doc, call, format!("The task `{name}`, with its module."))
    }

    fn bounds(&self) -> TokenStream {
        let travel = self.types.iter().copied().chain([&self.returns.value]);
        bounds(travel, self.returns.error.as_ref())
    }
}
