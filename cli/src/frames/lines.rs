//! Files and lines of frames, from the debug information of the module that was run.
//!
//! A slave says of a frame which function it is of and where in it; the module is here.
//! Invariant: the module is the caller's own; what cannot be read of it leaves the frames
//! as they are, without the place.

use addr2line::gimli::{Dwarf, EndianSlice, LittleEndian, SectionId};
use std::collections::HashMap;
use std::path::Path;
use wasmparser::{Parser, Payload, TypeRef};

type Slice<'a> = EndianSlice<'a, LittleEndian>;

/// The frames as `name at file:line:column`, those of inlined functions before the one that
/// they are in; `name` where the module has no lines.
pub(super) fn of(frames: &[String], wasm: &[u8]) -> Vec<String> {
    let module = Module::read(wasm);
    let context = module.as_ref().and_then(Module::context);
    let mut all = Vec::new();
    for frame in frames {
        let (name, place) = split(frame);
        let found = match (&module, &context, place) {
            (Some(module), Some(context), Some((function, offset))) => {
                module.address(function, offset).map(|address| lines(context, address, name))
            }
            _ => None,
        };
        match found {
            Some(found) if !found.is_empty() => all.extend(found),
            _ => all.push(name.to_owned()),
        }
    }
    all
}

/// A frame's name, and which function and place in it there is behind it.
fn split(frame: &str) -> (&str, Option<(u32, u64)>) {
    let parts = || {
        let (name, place) = frame.strip_suffix(']')?.rsplit_once(" [")?;
        let (function, offset) = place.split_once("+0x")?;
        Some((name, (function.parse().ok()?, u64::from_str_radix(offset, 16).ok()?)))
    };
    match parts() {
        Some((name, place)) => (name, Some(place)),
        None => (frame, None),
    }
}

fn lines(context: &addr2line::Context<Slice<'_>>, address: u64, name: &str) -> Vec<String> {
    let Ok(mut frames) = context.find_frames(address).skip_all_loads() else {
        return Vec::new();
    };
    let mut lines = Vec::new();
    while let Ok(Some(frame)) = frames.next() {
        let function = frame.function.as_ref().and_then(|function| function.raw_name().ok());
        let function = function.map(|raw| format!("{:#}", rustc_demangle::demangle(&raw)));
        let mut place = String::new();
        if let Some(location) = frame.location
            && let Some(file) = location.file
        {
            place += &format!(" at {}", short(file));
            for number in [location.line, location.column].into_iter().flatten() {
                place += &format!(":{number}");
            }
        }
        lines.push((function.unwrap_or_default(), place));
    }
    // The last is the function itself, whose whole name the slave knows; lines alone have
    // names without the modules that they are in.
    if let Some((function, _)) = lines.last_mut() {
        name.clone_into(function);
    }
    lines.into_iter().map(|(function, place)| function + &place).collect()
}

/// A file as a person knows it: below the current directory, of a package, of Rust itself.
fn short(file: &str) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    if let Ok(below) = Path::new(file).strip_prefix(&here) {
        return below.display().to_string();
    }
    // `/rustc/HASH/library/core/..`, `.../registry/src/REGISTRY/package-1.0/src/..`
    for (marker, levels) in [("/rustc/", 1), ("/registry/src/", 1)] {
        if let Some((_, rest)) = file.split_once(marker) {
            return rest.splitn(levels + 1, '/').last().unwrap_or(rest).to_owned();
        }
    }
    file.to_owned()
}

/// What of a module leads from a frame to its address in the debug information.
struct Module<'a> {
    sections: HashMap<&'a str, &'a [u8]>,
    /// Where the code begins; addresses are counted from there.
    code: u64,
    imported: u32,
    /// Where each function's body begins.
    bodies: Vec<u64>,
}

impl<'a> Module<'a> {
    fn read(wasm: &'a [u8]) -> Option<Self> {
        let mut module = Self { sections: HashMap::new(), code: 0, imported: 0, bodies: vec![] };
        for payload in Parser::new(0).parse_all(wasm) {
            match payload.ok()? {
                Payload::ImportSection(imports) => {
                    for import in imports.into_imports() {
                        let is_function = matches!(import.ok()?.ty, TypeRef::Func(_));
                        module.imported += u32::from(is_function);
                    }
                }
                Payload::CodeSectionStart { range, .. } => module.code = range.start,
                Payload::CodeSectionEntry(body) => module.bodies.push(body.range().start),
                Payload::CustomSection(section) => {
                    module.sections.insert(section.name(), section.data());
                }
                _ => {}
            }
        }
        Some(module)
    }

    fn context(&self) -> Option<addr2line::Context<Slice<'a>>> {
        self.sections.get(".debug_info")?;
        let load = |id: SectionId| {
            let data = self.sections.get(id.name()).copied().unwrap_or_default();
            Ok::<_, addr2line::gimli::Error>(EndianSlice::new(data, LittleEndian))
        };
        addr2line::Context::from_dwarf(Dwarf::load(load).ok()?).ok()
    }

    fn address(&self, function: u32, offset: u64) -> Option<u64> {
        let body = self.bodies.get(function.checked_sub(self.imported)? as usize)?;
        (body - self.code).checked_add(offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_has_a_place_behind_its_name() {
        assert_eq!(split("a::b [12+0x1f]"), ("a::b", Some((12, 31))));
        for bare in ["a::b", "f [1]", "f [x+0x1]", "[1+0x1]", ""] {
            assert_eq!(split(bare), (bare, None));
        }
    }

    #[test]
    fn without_debug_information_a_name_is_left() {
        let wasm = wat::parse_str("(module (func $f unreachable))").expect("well formed");
        let frames = ["f [0+0x2]".to_owned(), "g [7+0x2]".to_owned(), "h".to_owned()];
        assert_eq!(of(&frames, &wasm), ["f", "g", "h"]);
        assert_eq!(of(&frames, b"nonsense"), ["f", "g", "h"]);
    }

    #[test]
    fn files_are_as_people_know_them() {
        let here = std::env::current_dir().expect("a directory").join("src/lib.rs");
        assert_eq!(short(&here.display().to_string()), "src/lib.rs");
        assert_eq!(short("/rustc/59807/library/core/src/lib.rs"), "library/core/src/lib.rs");
        assert_eq!(short("/x/registry/src/y-1/log-0.4/src/lib.rs"), "log-0.4/src/lib.rs");
        assert_eq!(short("/elsewhere/a.c"), "/elsewhere/a.c");
    }
}
