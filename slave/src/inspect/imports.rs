//! What is wrong with a module's imports.
//!
//! What is granted, and of which type, is asked of what links it.

use super::Problem;
use super::scan::{Item, Scan};
use crate::local::Alone;
use crate::module::facts::Kind;
use crate::sandbox::imports::{ABI, ABI_NAMES, WASI, is_granted, link};
use crate::sandbox::plain::line;
use std::collections::HashMap;
use wasmtime::{Extern, Linker, Store};

/// What has to be another way.
pub(super) fn problems(kind: Kind, scan: &Scan, alone: &Alone) -> Vec<Problem> {
    let types = types(alone).unwrap_or_default();
    let one = |(module, name, item): &(String, String, Item)| match item {
        Item::Function(ty) if is_granted(kind, module, name) => {
            let granted = types.get(&(module.clone(), name.clone()))?;
            (granted != ty).then(|| of_another_type(module, name, ty, granted))
        }
        Item::Function(_) => Some(not_granted(kind, module, name)),
        other => Some(Problem::new(
            format!("it imports {other}, `{module}.{name}`; only functions are granted"),
            match other {
                Item::Memory => "let it have a memory of its own: link without --import-memory",
                _ => {
                    "let it define what it needs: link without --import-table, not as a part of \
                      another module (-fPIC, -shared)"
                }
            },
        )),
    };
    scan.imports.iter().filter_map(one).collect()
}

/// The types of everything that task modules are granted.
pub(super) fn types(alone: &Alone) -> wasmtime::Result<HashMap<(String, String), String>> {
    let engine = alone.engines.on_demand().map_err(wasmtime::Error::new)?;
    let mut linker = Linker::new(&engine);
    link(&mut linker)?;
    let mut store = Store::new(&engine, alone.host());
    let all: Vec<_> = linker
        .iter(&mut store)
        .map(|(module, name, item)| ((module.to_owned(), name.to_owned()), item))
        .collect();
    let line = |item: Extern| item.into_func().map(|f| line(&f.ty(&store))).unwrap_or_default();
    Ok(all.into_iter().map(|(name, item)| (name, line(item))).collect())
}

fn of_another_type(module: &str, name: &str, ty: &str, granted: &str) -> Problem {
    Problem::new(
        format!("it imports `{module}.{name}` as a function {ty}; it is {granted}"),
        "declare it as docs/abi.md has it",
    )
}

fn not_granted(kind: Kind, module: &str, name: &str) -> Problem {
    let import = format!("it imports `{module}.{name}`");
    if kind == Kind::Plain {
        return Problem::new(
            format!("{import}; plain modules import nothing"),
            "build it without a system interface, or make it a task module: export `dpfw_alloc` \
             and tasks as `dpfw:NAME`",
        );
    }
    if kind == Kind::Program && module == ABI {
        return Problem::new(
            format!("{import}; WASI programs have `{WASI}` alone"),
            "leave `_start` out and export tasks as `dpfw:NAME`, or do without the guest ABI",
        );
    }
    let later = module.strip_prefix("dpfw_").and_then(|version| version.parse::<u32>().ok());
    if later.is_some() && module != ABI {
        return Problem::new(
            format!("{import}: another version of the guest ABI than `{ABI}`"),
            format!("build it with an SDK for `{ABI}`, or inspect it with the dpfw of its slaves"),
        );
    }
    match module {
        ABI => Problem::new(
            format!("{import}, which `{ABI}` does not have"),
            format!("it has {}", ABI_NAMES.join(", ")),
        ),
        _ => Problem::new(format!("{import}, which is not granted"), advice(module, name)),
    }
}

/// What mostly is behind an import that nobody grants.
fn advice(module: &str, name: &str) -> String {
    match (module, name) {
        ("env", "abort" | "trace" | "seed") => format!(
            "AssemblyScript asks its host for it: give it one of your own with --use \
             {name}=assembly/dpfw/..."
        ),
        ("env", _) => format!(
            "the linker found no `{name}` and left it to the host: define it, or link what has it"
        ),
        ("wasi_unstable", _) | (WASI, _) => format!("use `{WASI}` as docs/abi.md lists it"),
        _ if module.starts_with("wasi:") => {
            "compile for preview 1 of WASI: wasm32-wasip1".to_owned()
        }
        _ if module.contains("wbindgen") => {
            "wasm-bindgen needs JavaScript: switch off the feature that brings it (often `js` or \
             `wasmbind`)"
                .to_owned()
        }
        ("gojs" | "go", _) => "compile for GOOS=wasip1".to_owned(),
        _ => format!("modules import from `{ABI}` and `{WASI}` alone"),
    }
}
