//! The tasks as plain functions.

use super::*;

fn documents() -> Vec<Document> {
    let texts = [
        ("a.rs", "fn parse_all(input: &str) {\n    parse_one(input);\n}\n"),
        ("b.rs", "// parse_one, parse_one, parse_one\nfn parse_one(input: &str) {}\n"),
        ("c.rs", "struct Größe { x: u8, y123: 99 }\n"),
    ];
    let document = |(name, text): (&str, &str)| Document {
        name: name.to_owned(),
        text: Bytes::from(text.as_bytes().to_vec()),
    };
    texts.map(document).into()
}

fn names(hits: &[Hit]) -> Vec<&str> {
    hits.iter().map(|hit| hit.name.as_str()).collect()
}

#[test]
fn words_are_names_of_three_letters_and_more() {
    let found: Vec<_> = words("a é fn _x1 42nd struct Größe{x".as_bytes()).collect();
    let text = |(at, word)| (at, std::str::from_utf8(word).expect("whole characters"));
    let found: Vec<_> = found.into_iter().map(text).collect();
    assert_eq!(found, [(8, "_x1"), (17, "struct"), (24, "Größe")]);
}

#[test]
fn documents_with_all_words_are_found_the_best_first() {
    let index = Index::of(documents());
    assert_eq!(names(&index.search("parse_one", 10)), ["b.rs", "a.rs"]);
    assert_eq!(names(&index.search("parse_one parse_all", 10)), ["a.rs"]);
    assert_eq!(names(&index.search("parse_one", 1)), ["b.rs"]);
    assert!(index.search("parse_one", 0).is_empty());
    assert!(index.search("parse_one nowhere", 10).is_empty() && index.search("x", 10).is_empty());
}

#[test]
fn a_hit_shows_the_line_of_the_rarest_word() {
    let hits = Index::of(documents()).search("input parse_one parse_all", 1);
    assert_eq!((hits[0].line, hits[0].text.as_str()), (1, "fn parse_all(input: &str) {"));
    let hits = Index::of(documents()).search("Größe", 1);
    assert_eq!((hits[0].line, hits[0].text.as_str()), (1, "struct Größe { x: u8, y123: 99 }"));
}

#[test]
fn the_three_ways_find_the_same() {
    let expected = Index::of(documents()).search("input", 10);
    assert_eq!(search_rebuilt("input".into(), 10), Err(NotThere::Gone(DOCUMENTS)));
    store::put(DOCUMENTS, &documents()).expect("room");
    store::put(INDEX, &Index::of(documents())).expect("room");
    build_index(documents());
    assert_eq!(search("input".into(), 10), expected);
    assert_eq!(search_rebuilt("input".into(), 10), Ok(expected.clone()));
    assert_eq!(search_read("input".into(), 10), Ok(expected));
}
