//! What a person reads of a run.

use bytesize::ByteSize;
use dpfw::Origin;
use examples_kit::{Report, grouped};
use search::{Corpus, Figures, Way};
use std::time::Duration;

/// The figures as a table.
pub(crate) fn of(corpus: &Corpus, figures: &Figures, slaves: usize) -> Report {
    let mut report = Report::default();
    report.title("what is searched");
    let files = grouped(corpus.documents.len() as u64);
    report.row("files", format!("{files}, {} together", size(corpus.bytes)));
    if corpus.left_out > 0 {
        let (files, bytes) = (grouped(corpus.left_out), size(corpus.left_out_bytes));
        report.row("left out", format!("{files} files, {bytes}: more than --most-bytes allows"));
    }
    let (words, postings) = (grouped(figures.words as u64), grouped(figures.postings as u64));
    report.row("the index", format!("{words} words, {postings} postings"));

    report.title("to have the index on a slave");
    report.row("send the files, build it, compile", seconds(figures.until_built));
    for (n, place) in (1..).zip(&figures.places) {
        let (took, init) = (seconds(place.took), seconds(place.init));
        let how = match place.origin {
            Origin::Sent => format!("sent it and compiled it in {took}"),
            Origin::Built => {
                format!("built and compiled it in {took}, {init} of that the init itself")
            }
            _ => format!("had it after {took}"),
        };
        report.row(format!("slave {n}"), how);
    }
    if let Some(place) = figures.places.first() {
        report.row("memory of the image", size(place.memory_bytes));
        report.row("bytes of it that are sent", size(place.snapshot_bytes));
    }

    report.title("queries a second");
    let [image, rebuilt, read] = &figures.ways;
    let plain = grouped(figures.plain.rate() as u64);
    report.row("a plain function, in this process", format!("{plain}, on one core"));
    let all = [("with the image", image), ("read as a value in every task", read)];
    for (what, way) in all.into_iter().chain([("rebuilt in every task", rebuilt)]) {
        report.row(what, told(way, image));
    }
    report.row("slaves", format!("{slaves}, one task at a time each unless they have more slots"));

    report.title("some of the queries, each with its best hit");
    for (query, hit) in &figures.samples {
        match hit {
            Some(hit) => report.row(query, format!("{}:{}  {}", hit.name, hit.line, hit.text)),
            None => report.row(query, "nothing"),
        }
    }
    report
}

/// A rate, of how many queries, and how it compares.
fn told(way: &Way, image: &Way) -> String {
    let rate = match way.rate() {
        rate if rate >= 100.0 => grouped(rate as u64),
        rate => format!("{rate:.2}"),
    };
    let (queries, took) = (grouped(way.queries as u64), seconds(way.took));
    let times = image.rate() / way.rate();
    let compared = match times > 1.5 {
        true => format!("; the image is {} times as fast", grouped(times as u64)),
        false => String::new(),
    };
    format!("{rate} ({queries} in {took}{compared})")
}

fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}

fn size(bytes: u64) -> String {
    ByteSize(bytes).to_string()
}
