use super::*;

fn identifiers(text: &str) -> Vec<&str> {
    scan::identifiers(text.as_bytes()).map(|b| std::str::from_utf8(b).expect("text")).collect()
}

#[test]
fn words_are_runs_of_letters_and_digits() {
    let words: Vec<_> = scan::words("one_two, für 3x;".as_bytes()).collect();
    assert_eq!(words, ["one", "two", "für", "3x"].map(str::as_bytes));
}

#[test]
fn identifiers_are_names_in_code() {
    let code = "fn add(a: i64) -> i64 { let _ = r#type; a + 0x1f_u8 + 1e5 }";
    assert_eq!(identifiers(code), ["add", "a", "i64", "i64", "type", "a"]);
    assert_eq!(identifiers("größe b c r"), ["größe", "b", "c", "r"]);
}

#[test]
fn comments_and_literals_have_none() {
    let code = r##"x // no
        /* no /* no */ no */ y "no \" no" b"no" c"no" br#"no " no"# r"no\" z
        'n' '\n' '\'' 'ö' b'n' '\u{41}' w"##;
    assert_eq!(identifiers(code), ["x", "y", "z", "w"]);
}

#[test]
fn lifetimes_are_no_characters() {
    let code = "impl<'a> Name<'a> for &'static str { 'outer: loop { f('('); g } }";
    assert_eq!(identifiers(code), ["Name", "str", "f", "g"]);
}

#[test]
fn anything_is_scanned_to_its_end() {
    for text in ["\"", "'", "'\\", "r#\"", "/*", "/* /* */", "b'", "r#", "\"\\", "//"] {
        assert!(identifiers(text).len() <= 1, "{text}");
    }
    let counts = count(vec![Bytes::from(b"caf\xe9 \xff")]);
    assert_eq!(counts.most_frequent(5), [("caf\u{fffd}", 1), ("\u{fffd}", 1)]);
}

#[test]
fn batches_and_their_order_do_not_matter() {
    let texts = ["let a = b;", "a // c", "", "b b b"].map(|text| Bytes::from(text.as_bytes()));
    let whole = count(texts.to_vec());
    let parts: Vec<_> = texts.iter().map(|text| count(vec![text.clone()])).collect();
    let backwards = parts.iter().rev().cloned().collect();
    assert_eq!(merge(parts), whole);
    assert_eq!(merge(backwards), whole);
    assert_eq!((whole.texts, whole.bytes), (4, 21));
    assert_eq!((whole.all_words(), whole.all_identifiers()), (8, 6));
    assert_eq!(whole.most_frequent(2), [("b", 4), ("a", 2)]);
}

#[test]
fn calls_are_values() {
    let call = count::call(vec![Bytes::from(b"fn")]);
    assert!(call.to_string().starts_with("count("), "{call}");
}
