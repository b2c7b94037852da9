use super::*;

#[test]
fn tasks_are_functions() {
    assert_eq!(add(2, 3), 5);
    let counts = count_words("One word, one count".into());
    assert_eq!(
        counts,
        BTreeMap::from([("one".into(), 2), ("word".into(), 1), ("count".into(), 1)])
    );
    assert_eq!(divide(7, -2), Ok(-3));
    assert_eq!(divide(7, 0), Err(DivideError::ByZero { a: 7 }));
    assert_eq!(divide(i64::MIN, -1), Err(DivideError::TooLarge));
    assert_eq!(sum_below(3_000_000), 4_499_998_500_000);
}

#[test]
#[should_panic(expected = "no word 7 in a text of 2")]
fn a_word_that_is_not_there_panics() {
    assert_eq!(word_at("one two".into(), 1), "two");
    word_at("one two".into(), 7);
}

#[test]
fn a_frame_is_around_all_points() {
    let points = [(1.0, 5.0), (-2.0, 0.5), (0.0, 1.0)].map(|(x, y)| Point { x, y });
    let around = Frame { low: Point { x: -2.0, y: 0.5 }, high: Point { x: 1.0, y: 5.0 } };
    assert_eq!(frame(points.to_vec()), Some(around));
    assert_eq!(frame(Vec::new()), None);
}

#[test]
fn the_store_remembers() {
    let remember = |text: &str| remember("colour".into(), text.into());
    assert_eq!(remember("blue"), Ok(None));
    assert_eq!(remember("green"), Ok(Some("blue".into())));
}

#[test]
fn calls_are_values() {
    assert_eq!(add::call(2, 3).to_string(), "add(2, 3)");
    assert_eq!(remember::call("a".into(), "b".into()).to_string(), r#"remember("a", "b")"#);
    let calls: Vec<_> = ["a", "b"].map(String::from).into_iter().map(count_words::call).collect();
    assert_eq!(calls[1].to_string(), r#"count_words("b")"#);
    let points = vec![Point { x: 0.0, y: 1.5 }];
    assert_eq!(frame::call(points).to_string(), r#"frame([{"x":0.0,"y":1.5}])"#);
}

#[test]
fn the_embedded_module_describes_its_tasks() {
    let module = add::task().module();
    let table = module.tasks().expect("a well-formed section");
    let lines: Vec<_> = table.tasks().map(|task| task.line()).collect();
    assert_eq!(
        lines,
        [
            "add(a: i64, b: i64) -> i64",
            "commonest(key: String) -> Result<Option<String>, _>",
            "count_words(text: String) -> BTreeMap<String, u64>",
            "divide(a: i64, b: i64) -> Result<i64, _>",
            "frame(points: Vec<Point>) -> Option<Frame>",
            "recall(name: String) -> Result<Option<String>, _>",
            "remember(name: String, text: String) -> Result<Option<String>, _>",
            "sum_below(limit: u64) -> u64",
            "word_at(text: String, at: u32) -> String",
        ]
    );
    let add = table.task("add").expect("there");
    assert_eq!((add.doc.as_str(), add.effect_free, add.once), ("Adds two numbers.", true, false));
    let frame = table.signature("frame").expect("there");
    let types: Vec<_> = frame.types.iter().map(|ty| (ty.name.as_str(), ty.fields.len())).collect();
    assert_eq!(types, [("Frame", 2), ("Point", 2)]);
}
