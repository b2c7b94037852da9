//! What is in a picture, of invented figures.

use super::*;
use crate::bench::rows::rows;
use crate::bench::rows::tests::runs;

/// The texts of a picture, in their order.
fn texts(svg: &str) -> Vec<String> {
    let document = roxmltree::Document::parse(svg).expect("it is well-formed");
    let texts = document.descendants().filter(|node| node.has_tag_name("text"));
    texts.map(|node| node.text().unwrap_or_default().to_owned()).collect()
}

#[test]
fn a_picture_is_well_formed_and_has_everybody_with_their_figures() {
    let runs = runs();
    let (rows, _) = rows(&runs);
    let texts = texts(&draw(&rows, &runs));
    for row in rows.iter().filter(|row| row.failed.is_none()) {
        assert!(texts.contains(&row.label), "{} is missing", row.label);
    }
    for said in ["118", "1,978!", "4.8 (8 MiB)", "2,931,000 (batched)", "300", "90"] {
        assert!(texts.iter().any(|text| text == said), "{said} is missing: {texts:?}");
    }
    let footer = texts.join("\n");
    for said in [
        "dpfw and its limits: 2026-01-03, 2 cores; dpfw 0.1.0, rustc 1.97.0",
        "others: 2026-01-02, machine not recorded",
        "Versions: a<b&c 1.2",
        "Not measured: Dask",
        "! Other processes",
    ] {
        assert!(footer.contains(said), "{said} is missing: {footer}");
    }
}

#[test]
fn bars_are_sorted_best_first_and_a_limit_is_drawn_once() {
    let (rows, _) = rows(&runs());
    let order = |column| {
        let bars = bars(&rows, column);
        bars.iter().map(|bar| format!("{} {}", bar.label, bar.value)).collect::<Vec<_>>()
    };
    assert_eq!(
        order(Column::RoundTrip),
        ["bare TCP 84", "dpfw 90", "gRPC (tonic) 118.2", "a<b&c 300", "Ray 1977.67"]
    );
    assert_eq!(
        order(Column::Tasks),
        ["bare TCP 2930676", "loop in process 215000", "dpfw 150000", "gRPC (tonic) 92202.5"]
    );
}

#[test]
fn a_picture_of_one_run_names_its_machine_once() {
    let runs = &runs()[1..];
    let (rows, _) = rows(runs);
    let texts = texts(&draw(&rows, runs));
    assert!(texts.contains(&"2026-01-03, 2 cores; dpfw 0.1.0, rustc 1.97.0".to_owned()));
    assert!(texts.contains(&"not measured".to_owned()), "an empty panel says so");
}

#[test]
fn nothing_is_no_picture() {
    let error = write(Path::new("/nowhere"), &[], &[]).expect_err("nothing to draw");
    assert_eq!(error.to_string(), "there is no figure to draw");
}

#[test]
fn long_lines_are_broken_at_spaces() {
    let words = vec!["word"; 100].join(" ");
    let lines = wrap(&words);
    assert!(lines.iter().all(|line| line.len() <= FOOTER), "{lines:?}");
    assert_eq!(lines.join(" "), words);
}
