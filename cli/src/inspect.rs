//! `dpfw inspect`: what a module is, and what is wrong with it.
//!
//! Owns: what a person reads of a [`Report`]. Does not: look at modules; the slave does.

use crate::escape;
use crate::exit::{Exit, Failure};
use crate::json;
use crate::module;
use crate::run::output_failed;
use crate::screen::Screen;
use crate::settings::LimitOptions;
use crate::units::Size;
use clap::Args;
use dpfw::inspection::{Export, Function, Method, Need, Problem, Report, Want, Warming};
use dpfw::{Depth, Kind, inspect};
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::PathBuf;

/// Tells what a module is, and what a slave would refuse.
///
/// Its kind, hash and size, its tasks and residents with their signatures, what it imports and
/// exports, what it would use if it is granted, whether it can be warmed, and what a slave with these limits would refuse.
///
/// With --check it is tried as well, as a slave would run it: it is loaded, asked for room, and
/// its tasks are called with what is no arguments. All problems are told at once, each with
/// what to do about it; if there are any, the exit code is 3.
#[derive(Args, Debug)]
#[command(after_help = crate::help::INSPECT)]
pub(crate) struct Inspect {
    /// A WebAssembly module, or its text (.wat)
    module: PathBuf,
    /// Tries it, and tells the author of a guest what is wrong with it
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    limits: LimitOptions,
}

impl Inspect {
    /// Runs the command.
    ///
    /// # Errors
    /// A [`Failure`] if the file cannot be read.
    pub(crate) fn run(&self, screen: &Screen) -> Result<Exit, Failure> {
        let wasm = module::wasm(&self.module)?;
        let depth = if self.check { Depth::Check } else { Depth::Look };
        let report = inspect(&wasm, &self.limits.limits(), depth);
        let name = self.module.display().to_string();
        let name = escape::line(&name);
        let text = match (screen.is_json(), self.check) {
            (true, _) => json::line(&report)?,
            (false, true) => verdict(&name, &report).into_bytes(),
            (false, false) => description(&name, &report).into_bytes(),
        };
        let mut stdout = io::stdout().lock();
        match stdout.write_all(&text).and_then(|()| stdout.flush()) {
            Ok(()) => Ok(self.exit(&report)),
            Err(error) => output_failed(&error),
        }
    }

    fn exit(&self, report: &Report) -> Exit {
        let is_wrong = self.check && !report.problems.is_empty();
        match is_wrong || report.kind.is_none() {
            true => Exit::Module,
            false => Exit::Ok,
        }
    }
}

/// What `--check` says.
fn verdict(name: &str, report: &Report) -> String {
    let mut text = match report.problems.len() {
        0 => format!("{name}: nothing is wrong\n"),
        1 => format!("{name}: 1 problem\n"),
        many => format!("{name}: {many} problems\n"),
    };
    list(&mut text, &report.problems);
    if !report.notes.is_empty() {
        text.push_str("could be better\n");
        list(&mut text, &report.notes);
    }
    text
}

fn list(text: &mut String, problems: &[Problem]) {
    for problem in problems {
        let _ = writeln!(text, "  - {}", escape::line(&problem.what));
        let _ = writeln!(text, "    {}", escape::line(&problem.remedy));
    }
}

/// What there is to say without `--check`.
fn description(name: &str, report: &Report) -> String {
    let kind = match report.kind {
        Some(Kind::Task) => "a task module",
        Some(Kind::Plain) => "a plain module",
        Some(Kind::Program) => "a WASI program",
        None => "no module",
    };
    let mut text = format!("{name}: {kind}\n");
    let _ = writeln!(text, "hash     {}", report.hash);
    let _ = writeln!(text, "size     {}", bytes(report.bytes));
    if report.kind.is_some() {
        let _ = writeln!(text, "warming  {}", escape::line(&warming(&report.warming)));
        let _ = writeln!(text, "names    {}", names(report));
        functions(&mut text, report);
        inits(&mut text, report);
        residents(&mut text, report);
        imports(&mut text, report);
        exports(&mut text, report);
        wants(&mut text, report);
        needs(&mut text, report);
    }
    if !report.problems.is_empty() {
        text.push_str("problems\n");
        list(&mut text, &report.problems);
    }
    text
}

fn warming(warming: &Warming) -> String {
    match warming {
        Warming::Nothing => "nothing to run ahead".into(),
        Warming::Warmed => "its start runs once, when it is loaded".into(),
        Warming::Cold(why) => format!("its start runs before each call: {why}"),
        Warming::Failed(why) => format!("it fails: {why}"),
        _ => "not tried".into(),
    }
}

fn names(report: &Report) -> &'static str {
    match (report.has_names, report.has_lines) {
        (true, true) => "of functions, and of files and lines",
        (true, false) => "of functions; no files and lines",
        (false, true) => "none of functions; files and lines",
        (false, false) => "none: backtraces have numbers",
    }
}

fn functions(text: &mut String, report: &Report) {
    let what = match report.kind {
        Some(Kind::Task) => "tasks",
        _ => "functions",
    };
    let _ = writeln!(text, "{what}");
    for function in &report.functions {
        let flags = flags(function, report.kind);
        let _ = writeln!(text, "  {}{flags}", escape::line(&function.signature));
    }
    if report.functions.is_empty() {
        text.push_str("  none\n");
    }
}

fn inits(text: &mut String, report: &Report) {
    if report.inits.is_empty() {
        return;
    }
    text.push_str("inits, by which images are made\n");
    for init in &report.inits {
        let flags = if init.described { "" } else { "  [not described]" };
        let _ = writeln!(text, "  {}{flags}", escape::line(&init.signature));
    }
}

/// Nothing of a module that has none.
fn residents(text: &mut String, report: &Report) {
    if report.residents.is_empty() {
        return;
    }
    text.push_str("residents\n");
    for resident in &report.residents {
        let saves = if resident.saves { "  [saves]" } else { "" };
        let _ = writeln!(text, "  {}{saves}", escape::line(&resident.class));
        for Method { signature, described, .. } in
            resident.constructors.iter().chain(&resident.methods)
        {
            let flag = if *described { "" } else { "  [not described]" };
            let _ = writeln!(text, "    {}{flag}", escape::line(signature));
        }
    }
}

/// What stands behind a signature.
fn flags(function: &Function, kind: Option<Kind>) -> String {
    let all = [
        (kind == Some(Kind::Task) && !function.described, "not described"),
        (function.once, "once"),
        (function.effect_free, "effect free"),
    ];
    let words = all.into_iter().filter(|(is, _)| *is).map(|(_, word)| word.to_owned());
    let image =
        function.image.as_ref().map(|init| format!("on an image of {}", escape::line(init)));
    let told: Vec<_> = words.chain(image).collect();
    match told.is_empty() {
        true => String::new(),
        false => format!("  [{}]", told.join(", ")),
    }
}

fn imports(text: &mut String, report: &Report) {
    text.push_str("imports\n");
    for import in &report.imports {
        let name = format!("{}.{}", import.module, import.name);
        let granted = if import.granted { "" } else { "  [not granted]" };
        let _ = writeln!(text, "  {}{granted}", escape::line(&name));
    }
    if report.imports.is_empty() {
        text.push_str("  nothing\n");
    }
}

/// What is exported besides what is listed already.
fn exports(text: &mut String, report: &Report) {
    let is_listed = |name: &str| {
        ["dpfw:", "dpfw-init:", "dpfw-resident:"].iter().any(|start| name.starts_with(start))
            || (report.kind != Some(Kind::Task) && report.functions.iter().any(|f| f.name == name))
    };
    let others: Vec<_> = report.exports.iter().filter(|export| !is_listed(&export.name)).collect();
    if others.is_empty() {
        return;
    }
    text.push_str("exports besides\n");
    for Export { name, what, .. } in others {
        let _ = writeln!(text, "  {}: {}", escape::line(name), escape::line(what));
    }
}

/// Nothing of a module that would use nothing.
fn wants(text: &mut String, report: &Report) {
    if report.wants.is_empty() {
        return;
    }
    text.push_str("would use, where it is granted\n");
    for Want { what, imports, required, .. } in &report.wants {
        let refused = if *required { "  [refused without]" } else { "" };
        let imports = imports.join(", ");
        let imports = escape::line(&imports);
        let _ = writeln!(text, "  {what:<11}  by {imports}{refused}");
    }
}

fn needs(text: &mut String, report: &Report) {
    text.push_str("needs, of what a slave allows\n");
    for need in &report.needs {
        let Need { limit, needed, allowed, unit, .. } = need;
        let (needed, allowed) = match *unit {
            "bytes" => (bytes(*needed), Size(*allowed).to_string()),
            _ => (needed.to_string(), allowed.to_string()),
        };
        let refused = if need.is_exceeded() { "  [refused]" } else { "" };
        let _ = writeln!(text, "  {limit:<13}  {needed} of {allowed}{refused}");
    }
    if let Some(most) = report.memory_maximum {
        let _ = writeln!(text, "  its memory grows to {} at most", bytes(most));
    }
}

/// A size, exact where that is short.
fn bytes(n: u64) -> String {
    match n {
        0..10_000 => format!("{n} bytes"),
        _ => bytesize::ByteSize(n).display().iec().to_string(),
    }
}
