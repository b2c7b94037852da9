//! The arguments of a program, with a place for a line.
//!
//! Invariant: the line is an argument or a part of one, whatever is in it: no shell reads it.

/// What stands for the line.
const PLACE: &str = "{}";

/// The arguments for one line: the line in the place of every `{}`, or behind the
/// arguments if there is none.
pub(super) fn arguments(template: &[String], line: &str) -> Vec<String> {
    let mut arguments: Vec<_> = template.iter().map(|arg| arg.replace(PLACE, line)).collect();
    if !template.iter().any(|arg| arg.contains(PLACE)) {
        arguments.push(line.to_owned());
    }
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(template: &[&str], line: &str) -> Vec<String> {
        arguments(&template.iter().map(ToString::to_string).collect::<Vec<_>>(), line)
    }

    #[test]
    fn a_line_stands_in_its_places_or_at_the_end() {
        assert_eq!(filled(&[], "a b"), ["a b"]);
        assert_eq!(filled(&["-n", "3"], "a"), ["-n", "3", "a"]);
        assert_eq!(filled(&["{}", "-o", "{}.out"], "x y"), ["x y", "-o", "x y.out"]);
        assert_eq!(filled(&["{}{}"], "{}"), ["{}{}"]);
    }
}
