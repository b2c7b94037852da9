//! The records of the custom section `dpfw.tasks`: one JSON object a line.
//!
//! Owns: their JSON and the static that carries it into the module. Does not: decide what
//! is in a record. Invariant: a record begins and ends with a line feed and has none
//! inside, so that a linker may put records together in any order.

use crate::role::Role;
use proc_macro2::{Literal, Span, TokenStream};
use quote::quote;

/// The section's name; `dpfw_protocol::signature::SECTION` reads it.
const SECTION: &str = "dpfw.tasks";

/// A name and a type, as written.
#[derive(Clone)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) ty: String,
}

/// A task of the module, an init, or a function of a resident.
#[derive(Clone)]
pub(crate) struct Task {
    pub(crate) name: String,
    pub(crate) args: Vec<Field>,
    pub(crate) returns: String,
    pub(crate) fallible: bool,
    pub(crate) once: bool,
    pub(crate) effect_free: bool,
    pub(crate) doc: String,
    /// The name of the init that it needs; empty if none.
    pub(crate) image: String,
    /// What it is.
    pub(crate) role: Role,
}

impl Task {
    /// Code that puts the record into the module; nothing on the host.
    pub(crate) fn section(&self) -> TokenStream {
        section(&self.json())
    }

    fn json(&self) -> String {
        let role = self.role.record();
        let image = match self.image.as_str() {
            "" => String::new(),
            image => format!(r#","image":{}"#, text(image)),
        };
        format!(
            r#"{{"{role}":{{"name":{},"args":{},"returns":{},"fallible":{},"once":{},"effect_free":{},"doc":{}{image}}}}}"#,
            text(&self.name),
            fields(&self.args),
            text(&self.returns),
            self.fallible,
            self.once,
            self.effect_free,
            text(&self.doc),
        )
    }
}

/// A type of the user's.
pub(crate) struct Type {
    pub(crate) name: String,
    pub(crate) fields: Vec<Field>,
}

impl Type {
    /// Code that puts the record into the module; nothing on the host.
    pub(crate) fn section(&self) -> TokenStream {
        let (name, fields) = (text(&self.name), fields(&self.fields));
        section(&format!(r#"{{"type":{{"name":{name},"fields":{fields}}}}}"#))
    }
}

fn section(json: &str) -> TokenStream {
    let line = format!("\n{json}\n");
    let len = Literal::usize_unsuffixed(line.len());
    let bytes = syn::LitByteStr::new(line.as_bytes(), Span::call_site());
    quote! {
        #[cfg(target_family = "wasm")]
        const _: () = {
            #[used]
            #[unsafe(link_section = #SECTION)]
            static RECORD: [u8; #len] = *#bytes;
        };
    }
}

fn fields(fields: &[Field]) -> String {
    let fields: Vec<_> = fields
        .iter()
        .map(|field| format!(r#"{{"name":{},"type":{}}}"#, text(&field.name), text(&field.ty)))
        .collect();
    format!("[{}]", fields.join(","))
}

/// A JSON string.
fn text(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for ch in text.chars() {
        match ch {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            // Unicode's line and paragraph ends included: nothing may look like a line's end.
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') => {
                out.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_one_line_of_json() {
        let task = Task {
            name: "a\"b".into(),
            args: vec![Field { name: "x".into(), ty: "Vec<u8>".into() }],
            returns: "()".into(),
            fallible: true,
            once: false,
            effect_free: false,
            doc: "One.\nTwo\t\\.".into(),
            image: String::new(),
            role: Role::Task,
        };
        let init = Task { image: "build".into(), role: Role::Init, ..task.clone() };
        let json = init.json();
        assert!(json.starts_with(r#"{"init":{"name":"a\"b","#), "{json}");
        assert!(json.ends_with(r#","image":"build"}}"#), "{json}");
        assert_eq!(
            task.json(),
            r#"{"task":{"name":"a\"b","args":[{"name":"x","type":"Vec<u8>"}],"returns":"()","fallible":true,"once":false,"effect_free":false,"doc":"One.\nTwo\u0009\\."}}"#
        );
    }
}
