//! The host's side of the guest ABI: whatever pointers and lengths a guest passes.

use arbitrary::{Result, Unstructured};
use dpfw_slave::fuzzing::{HostSide, Started};
use std::fmt::Write;
use std::sync::OnceLock;

/// Bytes of the guest's memory, and of a page.
const MEMORY: u64 = 65_536;

/// The most parameters that an import has.
const PARAMS: usize = 9;

struct Stage {
    host: HostSide,
    /// The guest's functions, each of which calls the import of its number.
    functions: Vec<String>,
}

/// A guest that exports, for each import, a function of the same type that calls it.
fn stage() -> &'static Stage {
    static STAGE: OnceLock<Stage> = OnceLock::new();
    STAGE.get_or_init(|| {
        let imports = HostSide::imports().expect("the imports are linked");
        let (mut head, mut tail, mut functions) = (String::new(), String::new(), Vec::new());
        for (index, it) in imports.iter().enumerate() {
            let (params, results) = (it.params.join(" "), it.results.join(" "));
            let ty = format!("(param {params}) (result {results})");
            let gets: String = (0..it.params.len()).map(|n| format!("(local.get {n})")).collect();
            let (module, name) = (&it.module, &it.name);
            let _ = writeln!(head, r#"(import "{module}" "{name}" (func $f{index} {ty}))"#);
            let _ = writeln!(tail, r#"(func (export "f{index}") {ty} (call $f{index} {gets}))"#);
            functions.push(format!("f{index}"));
        }
        let text = format!(r#"(module {head} (memory (export "memory") 1) {tail})"#);
        let wasm = wat::parse_str(text).expect("a guest");
        Stage { host: HostSide::new(&wasm).expect("it can be linked"), functions }
    })
}

/// Calls of imports, one after the other in one sandbox, with numbers that are most often near
/// the edges of the guest's memory, which holds the bytes that are left. In the end the memory
/// is read as a task's result.
pub fn body(data: &[u8]) {
    // A sandbox that runs out of input does what it has begun.
    let _ = run(&mut Unstructured::new(data));
}

fn run(u: &mut Unstructured<'_>) -> Result<()> {
    let stage = stage();
    let mut calls = Vec::new();
    for _ in 0..u.int_in_range(1..=6)? {
        let function = u.choose_index(stage.functions.len())?;
        let mut numbers = [0; PARAMS];
        for number in &mut numbers {
            *number = self::number(u)?;
        }
        calls.push((function, numbers));
    }
    let packed = (number(u)? << 32 | number(u)? & 0xffff_ffff).cast_signed();
    let mut started = stage.host.start().expect("a sandbox");
    fill(&mut started, u)?;
    for (function, numbers) in calls {
        // An error ends a guest. Here it goes on: the host has to bear more than it need.
        drop(started.call(&stage.functions[function], &numbers));
        assert_eq!(started.memory().len() as u64, MEMORY);
    }
    if let Ok((len, ranges)) = started.returned(packed) {
        let total: usize = ranges.iter().map(ExactSizeIterator::len).sum();
        assert_eq!(total as u64, len, "a result's pieces are not its length");
        assert!(ranges.iter().all(|range| range.end as u64 <= MEMORY), "outside memory");
    }
    Ok(())
}

/// Puts the rest of the input at both ends of the memory.
fn fill(started: &mut Started, u: &mut Unstructured<'_>) -> Result<()> {
    let len = u.len().min(2048);
    let bytes = u.bytes(len)?.to_vec();
    let memory = started.memory();
    memory[..len].copy_from_slice(&bytes);
    let end = memory.len() - len;
    memory[end..].copy_from_slice(&bytes);
    Ok(())
}

/// A pointer, a length, or anything.
fn number(u: &mut Unstructured<'_>) -> Result<u64> {
    Ok(match u.arbitrary::<u8>()? {
        0..=119 => u.arbitrary::<u8>()?.into(),
        120..=159 => u.arbitrary::<u16>()?.into(),
        160..=189 => MEMORY - u64::from(u.arbitrary::<u8>()?),
        190..=209 => MEMORY + u64::from(u.arbitrary::<u8>()?),
        210..=229 => u64::from(u32::MAX - u32::from(u.arbitrary::<u8>()?)),
        230..=244 => u.arbitrary::<u32>()?.into(),
        _ => u.arbitrary()?,
    })
}
