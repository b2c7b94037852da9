//! Visibilities, one module deeper.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::{VisRestricted, Visibility};

/// The visibility that, one module deeper, means the same.
pub(crate) fn one_deeper(visibility: &Visibility) -> TokenStream {
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
