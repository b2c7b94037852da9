//! Source text of types and doc comments, as a person would write it.
//!
//! Owns: the spacing of tokens. Does not: parse. Invariant: two spellings of a type that
//! differ in white space only have the same text.

use proc_macro2::{Delimiter, Group, Spacing, TokenStream, TokenTree};
use quote::ToTokens;
use syn::{Attribute, Expr, ExprLit, Lit, Meta};

/// A type as written: `Vec<(u32, String)>`.
pub(crate) fn of(tokens: &impl ToTokens) -> String {
    let mut text = String::new();
    write(tokens.to_token_stream(), &mut text);
    text
}

fn write(tokens: TokenStream, text: &mut String) {
    let mut arrow = false;
    for token in tokens {
        match token {
            TokenTree::Group(group) => write_group(&group, text),
            TokenTree::Punct(punct) => {
                let ch = punct.as_char();
                let closes_arrow = arrow && ch == '>';
                arrow = ch == '-' && punct.spacing() == Spacing::Joint;
                match ch {
                    '+' | '=' => text.push_str(&format!(" {ch} ")),
                    ',' | ';' => text.push_str(&format!("{ch} ")),
                    '-' if arrow => text.push_str(" -"),
                    '>' if closes_arrow => text.push_str("> "),
                    _ => text.push(ch),
                }
            }
            TokenTree::Ident(ident) => word(&ident.to_string(), text),
            TokenTree::Literal(literal) => word(&literal.to_string(), text),
        }
    }
}

/// Two words need a space between them, and so does what follows a type: `<T> as`.
fn word(word: &str, text: &mut String) {
    if text.ends_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | '>' | ')' | ']')) {
        text.push(' ');
    }
    text.push_str(word);
}

fn write_group(group: &Group, text: &mut String) {
    let (open, close) = match group.delimiter() {
        Delimiter::Parenthesis => ("(", ")"),
        Delimiter::Bracket if text.ends_with(char::is_alphanumeric) => (" [", "]"),
        Delimiter::Bracket => ("[", "]"),
        Delimiter::Brace => ("{ ", " }"),
        Delimiter::None => ("", ""),
    };
    text.push_str(open);
    let mut inner = String::new();
    write(group.stream(), &mut inner);
    text.push_str(inner.trim_end_matches([',', ' ']));
    if group.delimiter() == Delimiter::Parenthesis && one_tuple(group.stream()) {
        text.push(',');
    }
    text.push_str(close);
}

/// Whether this is the inside of `(T,)`, which is another type than `(T)`.
fn one_tuple(stream: TokenStream) -> bool {
    let mut depth = 0i32;
    let mut commas = 0;
    let mut last = false;
    for token in stream {
        last = false;
        if let TokenTree::Punct(punct) = token {
            match punct.as_char() {
                '<' => depth += 1,
                '>' => depth -= 1,
                ',' if depth == 0 => {
                    commas += 1;
                    last = true;
                }
                _ => {}
            }
        }
    }
    commas == 1 && last
}

/// The doc comment of an item, without the indentation that `///` leaves.
pub(crate) fn docs(attributes: &[Attribute]) -> String {
    let lines = attributes.iter().filter_map(doc_line).collect::<Vec<_>>().join("\n");
    let lines: Vec<_> =
        lines.lines().map(|line| line.strip_prefix(' ').unwrap_or(line).trim_end()).collect();
    lines.join("\n").trim().to_owned()
}

fn doc_line(attribute: &Attribute) -> Option<String> {
    match &attribute.meta {
        Meta::NameValue(pair) if pair.path.is_ident("doc") => match &pair.value {
            Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Some(text.value()),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_read_as_they_are_written() {
        for written in [
            "i64",
            "Vec<(u32, String)>",
            "[u8; 4]",
            "(T,)",
            "(HashMap<A, B>,)",
            "()",
            "std::collections::BTreeMap<String, Vec<u64>>",
            "&'static mut str",
            "&'static [&[u8]]",
            "Box<dyn Fn(u8) -> u8 + Send>",
            "<T as Iterator>::Item",
            "<Vec<T> as IntoIterator>::Item",
            "Option<Vec<Vec<u8>>>",
        ] {
            let ty: syn::Type = syn::parse_str(written).expect("a type");
            assert_eq!(of(&ty), written);
        }
        let ty: syn::Type = syn::parse_str("Map < A ,\n B, >").expect("a type");
        assert_eq!(of(&ty), "Map<A, B, >", "only white space is made the same");
    }

    #[test]
    fn docs_keep_their_lines() {
        let item: syn::ItemFn =
            syn::parse_str("/// One.\n///\n///     code\nfn f() {}").expect("a function");
        assert_eq!(docs(&item.attrs), "One.\n\n    code");
    }
}
