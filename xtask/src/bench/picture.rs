//! The rows as a picture for the README: `peers.svg`, and `peers.png` from it.
//!
//! Owns: which panels there are, what is said around them, and the files. Does not: draw text
//! as pixels; `dpfw-plot` does, for it needs what would make this tool slow to build.

mod panel;
mod svg;

use super::columns::Column;
use super::record::Record;
use super::rows::{Kind, Row};
use crate::command::{built, cargo_with, run as run_command};
use anyhow::{Context, Result, ensure};
use panel::{Bar, Panel};
use std::path::Path;
use std::process::Command;
use svg::{Anchor, Colour, Svg, Weight};

/// The width of a README's page, about.
const WIDTH: f64 = 900.0;

/// Around everything.
const MARGIN: f64 = 22.0;

/// Between two panels.
const GAP: f64 = 26.0;

/// Characters of the footer on a line, in its size.
const FOOTER: usize = 145;

/// Builds what makes the PNG. Done before anything is measured, so that it fails before that.
pub(super) fn prepare() -> Result<()> {
    run_command(&mut cargo_with(&["build", "--package", "dpfw-plot"]))
}

/// Writes both pictures.
///
/// # Errors
/// There is nothing to draw, the directory cannot be written to, or there is no font.
pub(super) fn write(directory: &Path, rows: &[Row], runs: &[Record]) -> Result<()> {
    ensure!(rows.iter().any(|row| row.failed.is_none()), "there is no figure to draw");
    std::fs::create_dir_all(directory)
        .with_context(|| format!("{} cannot be made", directory.display()))?;
    let [svg, png] = ["peers.svg", "peers.png"].map(|name| directory.join(name));
    std::fs::write(&svg, draw(rows, runs))
        .with_context(|| format!("{} cannot be written", svg.display()))?;
    run_command(Command::new(built("debug", "dpfw-plot")?).args([svg, png]))
}

/// The panels, two in a row.
const PANELS: [(Column, &str); 4] = [
    (Column::RoundTrip, "One task at a time: round trip p50, µs (less is better)"),
    (Column::Tasks, "Many tasks: tasks per second (more is better)"),
    (Column::Calls, "On live state: calls per second (more is better)"),
    (Column::Bulk, "A 64 MiB argument: MB/s (more is better)"),
];

fn draw(rows: &[Row], runs: &[Record]) -> String {
    let panels = PANELS.map(|(column, title)| Panel::new(title, bars(rows, column)));
    let width = (WIDTH - 2.0 * MARGIN - GAP) / 2.0;
    let top = MARGIN + 58.0;
    let heights = [0, 2].map(|at| panels[at].height().max(panels[at + 1].height()));
    let footer: Vec<_> = footer(rows, runs).iter().flat_map(|line| wrap(line)).collect();
    let under = top + heights[0] + GAP + heights[1] + 32.0;
    let mut svg = Svg::new(WIDTH, under + footer.len() as f64 * 15.0 + 4.0);
    heading(&mut svg);
    for (at, panel) in panels.iter().enumerate() {
        let x = MARGIN + (at % 2) as f64 * (width + GAP);
        let y = if at < 2 { top } else { top + heights[0] + GAP };
        panel.draw(&mut svg, x, y, width);
    }
    for (at, line) in footer.iter().enumerate() {
        let y = under + at as f64 * 15.0;
        svg.text((MARGIN, y), 10.5, Weight::Plain, Colour::Faint, Anchor::Start, line);
    }
    svg.finish()
}

/// The title, and what the colours mean.
fn heading(svg: &mut Svg) {
    let title = "dpfw beside other ways to have a task done by another process";
    let at = (MARGIN, MARGIN + 14.0);
    svg.text(at, 17.0, Weight::Bold, Colour::Text, Anchor::Start, title);
    let mut x = MARGIN;
    for (colour, meaning) in [
        (Colour::Dpfw, "dpfw, a new sandbox for every task"),
        (Colour::Peer, "others"),
        (Colour::Limit, "limits: nothing but bytes over TCP, no network at all"),
    ] {
        svg.bar((x, MARGIN + 27.0), (11.0, 11.0), colour);
        let at = (x + 16.0, MARGIN + 37.0);
        svg.text(at, 12.0, Weight::Plain, Colour::Text, Anchor::Start, meaning);
        x += 16.0 + svg::width(meaning, 12.0, Weight::Plain) + 18.0;
    }
    let axes = "logarithmic axes, medians";
    let at = (WIDTH - MARGIN, MARGIN + 37.0);
    svg.text(at, 11.0, Weight::Plain, Colour::Faint, Anchor::End, axes);
}

/// The bars of a column, the best first. What is measured twice under one label is drawn once,
/// as the benchmark measured it: its rows are the first.
fn bars(rows: &[Row], column: Column) -> Vec<Bar> {
    let mut bars: Vec<Bar> = Vec::new();
    for row in rows {
        let Some(figure) = &row.cells[column as usize] else { continue };
        // There is no logarithm of anything else.
        if figure.median > 0.0 && !bars.iter().any(|bar| bar.label == row.label) {
            let colour = match row.kind {
                Kind::Limit(_) => Colour::Limit,
                Kind::Dpfw => Colour::Dpfw,
                Kind::Peer => Colour::Peer,
            };
            bars.push(Bar::new(&row.label, colour, figure));
        }
    }
    let is_less_better = column.unit() == "us";
    bars.sort_by(|a, b| match is_less_better {
        true => a.value.total_cmp(&b.value),
        false => b.value.total_cmp(&a.value),
    });
    bars
}

/// What the figures depend on.
fn footer(rows: &[Row], runs: &[Record]) -> Vec<String> {
    let mut lines = Vec::new();
    let mut used: Vec<_> =
        (0..runs.len()).filter(|at| rows.iter().any(|row| row.run == *at)).collect();
    used.sort_by_key(|at| !rows.iter().any(|row| row.run == *at && row.kind == Kind::Dpfw));
    for at in &used {
        let run = &runs[*at];
        let said = format!("{}, {}", run.date(), run.whereabouts());
        lines.push(match used.len() {
            1 => said,
            _ => format!("{}: {said}", who(rows, *at)),
        });
    }
    let peers = rows.iter().filter(|row| row.kind != Kind::Dpfw);
    let versions = peers.filter_map(|row| Some(format!("{} {}", row.label, row.version.as_ref()?)));
    let versions: Vec<_> = versions.collect();
    if !versions.is_empty() {
        lines.push(format!("Versions: {}", versions.join(", ")));
    }
    let failed = rows.iter().filter(|row| row.failed.is_some());
    if failed.clone().next().is_some() {
        lines.push(format!("Not measured: {}", labels(failed)));
    }
    if rows.iter().flat_map(|row| row.cells.iter().flatten()).any(|figure| figure.is_noisy) {
        lines.push("! Other processes were busy during a repetition.".to_owned());
    }
    lines
}

/// Whose figures are of a run, if there are several.
fn who(rows: &[Row], run: usize) -> String {
    let is_other = |row: &&Row| !row.is_measured_by_bench();
    let others = rows.iter().filter(is_other);
    let mut who = Vec::new();
    if rows.iter().any(|row| row.run == run && row.is_measured_by_bench()) {
        who.push("dpfw and its limits".to_owned());
    }
    if others.clone().all(|row| row.run == run) {
        who.push("others".to_owned());
    } else if others.clone().any(|row| row.run == run) {
        who.push(labels(others.filter(|row| row.run == run)));
    }
    who.join(", ")
}

/// Labels, each once.
fn labels<'a>(rows: impl Iterator<Item = &'a Row>) -> String {
    let mut labels: Vec<&str> = rows.map(|row| &*row.label).collect();
    labels.dedup();
    labels.join(", ")
}

/// Breaks a line at spaces.
fn wrap(line: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in line.split(' ') {
        let Some(last) = lines.last_mut() else { break };
        if last.is_empty() {
            last.push_str(word);
        } else if last.chars().count() + 1 + word.chars().count() <= FOOTER {
            last.push(' ');
            last.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

#[cfg(test)]
mod tests;
