//! The code beside a task.
//!
//! Owns: the export in the module, the typed call on the host, the record of both. Does
//! not: repeat the function. Invariant: types are resolved where the function stands:
//! everything that mentions one is generated there, and the module of the task's name
//! only exports it again. Bounds on the user's types stand in `where` clauses made of the
//! user's tokens: what they do not fulfil is reported once, at the type.

use super::{Function, Options};
use crate::record::{Field, Task};
use crate::text;
use proc_macro2::{Ident, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{GenericArgument, PathArguments, Type, VisRestricted, Visibility, parse_quote};

/// Everything but the function itself.
pub(super) fn beside(function: &Function, options: &Options) -> TokenStream {
    let task = Described::new(function, options);
    let (export, call, record) = (task.export(), task.call(), task.record().section());
    quote! { #export #call #record }
}

/// What a function returns.
struct Returns {
    /// The type of the result; of success if it is fallible.
    value: Type,
    /// The value's type as written, as far as it is.
    written: String,
    /// The error of a fallible function, if its type is written there.
    error: Option<Type>,
    /// The whole type of a fallible function.
    fallible: Option<Type>,
}

impl Returns {
    fn of(ty: Option<&Type>) -> Self {
        let Some(ty) = ty else {
            return Self::plain(&parse_quote!(()));
        };
        let Some(arguments) = result_arguments(ty) else {
            return Self::plain(ty);
        };
        let mut types = arguments.into_iter();
        let (value, written) = match types.next() {
            Some(value) => (value.clone(), text::of(&value)),
            None => {
                (parse_quote!(<#ty as ::dpfw_guest::__private::Fallible>::Value), "_".to_owned())
            }
        };
        Self { value, written, error: types.next(), fallible: Some(ty.clone()) }
    }

    fn plain(ty: &Type) -> Self {
        Self { value: ty.clone(), written: text::of(ty), error: None, fallible: None }
    }
}

/// The generic arguments of a type that is called `Result`.
fn result_arguments(ty: &Type) -> Option<Vec<Type>> {
    let path = match ty {
        Type::Path(path) => &path.path,
        Type::Paren(paren) => return result_arguments(&paren.elem),
        Type::Group(group) => return result_arguments(&group.elem),
        _ => return None,
    };
    let last = path.segments.last().filter(|segment| segment.ident == "Result")?;
    let PathArguments::AngleBracketed(arguments) = &last.arguments else {
        return Some(Vec::new());
    };
    let types = arguments.args.iter().filter_map(|argument| match argument {
        GenericArgument::Type(ty) => Some(ty.clone()),
        _ => None,
    });
    Some(types.collect())
}

/// A task with all that the expansion needs of it.
struct Described<'a> {
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
    fn new(function: &'a Function, options: &'a Options) -> Self {
        let ident = &function.signature.ident;
        let name = match &options.name {
            Some(name) => name.value(),
            None => ident.unraw().to_string(),
        };
        Self {
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
        let field = |(name, ty): (&Ident, &&Type)| Field {
            name: name.unraw().to_string(),
            ty: text::of(ty),
        };
        Task {
            name: self.name.clone(),
            args: self.names.iter().zip(&self.types).map(field).collect(),
            returns: self.returns.written.clone(),
            fallible: self.returns.fallible.is_some(),
            once: self.options.once,
            effect_free: self.options.effect_free,
            doc: self.function.docs(),
        }
    }

    /// The export `dpfw:NAME`, in the module only.
    fn export(&self) -> TokenStream {
        let (ident, export) = (self.ident, format!("dpfw:{}", self.name));
        let (types, bounds) = (&self.types, self.bounds());
        let written = self.names.iter().zip(types);
        let written = written.map(|(name, ty)| format!("{}: {}", name.unraw(), text::of(ty)));
        let values: Vec<_> = (0..types.len()).map(|n| format_ident!("__dpfw_{n}")).collect();
        let count = types.len();
        let reply = match self.returns.fallible {
            Some(_) => quote!(fallible),
            None => quote!(infallible),
        };
        quote! {
            #[cfg(target_family = "wasm")]
            const _: () = {
                #[unsafe(export_name = #export)]
                extern "C" fn export(at: i32, len: i32) -> i64
                #bounds
                {
                    ::dpfw_guest::__private::run(
                        at,
                        len,
                        |arguments| {
                            arguments.expect(#count)?;
                            #(let #values = arguments.take::<#types>(#written)?;)*
                            ::core::result::Result::Ok((#(#values,)*))
                        },
                        |(#(#values,)*)| ::dpfw_guest::__private::#reply(#ident(#(#values),*)),
                    )
                }
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
        let arguments = match names.is_empty() {
            true => quote!([(); 0]),
            false => quote!((#(#names,)*)),
        };
        let (bounds, whole) = (self.bounds(), self.function.returned());
        let output = whole.map(|ty| quote!(-> #ty));
        let (visibility, inner) =
            (&self.function.visibility, one_deeper(&self.function.visibility));
        let (doc, doc_call, doc_task) = self.host_docs();
        let host = quote!(#[cfg(not(target_family = "wasm"))]);
        quote! {
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

    fn host_docs(&self) -> (String, String, String) {
        let name = &self.name;
        let docs = self.function.docs();
        let doc = if docs.is_empty() { format!("The task `{name}`.") } else { docs };
        let call = format!("A call of the task `{name}`, for a master to dispatch.");
        (doc, call, format!("The task `{name}`, with its module."))
    }

    /// That everything can travel. The same on both sides, so that the host's compiler
    /// already says what the module's would.
    fn bounds(&self) -> TokenStream {
        let mut seen = Vec::new();
        let mut clauses = TokenStream::new();
        let values = self.types.iter().copied().chain([&self.returns.value]);
        for ty in values.filter(|ty| !is_known(ty)) {
            let written = ty.to_token_stream().to_string();
            if !seen.contains(&written) {
                clauses.extend(quote_spanned! {ty.span()=>
                    #ty: ::dpfw_guest::__private::Serialize
                        + ::dpfw_guest::__private::DeserializeOwned,
                });
                seen.push(written);
            }
        }
        if let Some(ty) = &self.returns.error {
            clauses.extend(quote_spanned!(ty.span()=> #ty: ::core::fmt::Display,));
        }
        quote!(where #clauses)
    }
}

/// Types that need no bound, to keep the documentation of a call short.
fn is_known(ty: &Type) -> bool {
    const KNOWN: [&str; 17] = [
        "bool", "char", "String", "u8", "u16", "u32", "u64", "u128", "usize", "i8", "i16", "i32",
        "i64", "i128", "isize", "f32", "f64",
    ];
    match ty {
        Type::Path(path) => KNOWN.iter().any(|known| path.path.is_ident(known)),
        Type::Tuple(tuple) => tuple.elems.is_empty(),
        _ => false,
    }
}

/// The visibility that, one module deeper, means the same.
fn one_deeper(visibility: &Visibility) -> TokenStream {
    match visibility {
        Visibility::Public(_) => visibility.to_token_stream(),
        Visibility::Inherited => quote!(pub(super)),
        Visibility::Restricted(VisRestricted { path, .. }) => {
            let first = path.segments.first().map(|segment| segment.ident.to_string());
            match first.as_deref() {
                Some("super") => {
                    let deeper: TokenStream = quote!(super::#path);
                    quote!(pub(in #deeper))
                }
                Some("self") => quote!(pub(super)),
                _ => visibility.to_token_stream(),
            }
        }
    }
}
