//! The file of `--grants`: what guests are granted of the world outside.
//!
//! Owns: reading it, and where it is wrong. Does not: know what is in it; the slave does.

use crate::exit::Failure;
use dpfw::grants::Grants;
use dpfw_certs::files::is_trusted;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Bytes of such a file: some thousand rules.
const MOST: u64 = 1 << 20;

/// Reads a file.
///
/// # Errors
/// A [`Failure`] that names the file, the line and what is wrong with it.
pub(crate) fn read(path: &Path) -> Result<Grants, Failure> {
    let name = path.display();
    let mut text = String::new();
    let read = File::open(path).and_then(|file| {
        let about = file.metadata()?;
        file.take(MOST + 1).read_to_string(&mut text).map(|_| about)
    });
    let about = read
        .map_err(|error| Failure::usage(format!("the grants in {name} cannot be read: {error}")))?;
    let owner = about.uid();
    if !is_trusted(owner) {
        let message = format!(
            "the grants in {name} belong to user {owner}, who can change them: make the file this \
             user's own, or root's"
        );
        return Err(Failure::usage(message));
    }
    if about.mode() & 0o022 != 0 {
        let message = format!("others may write to the grants in {name}: `chmod go-w` it");
        return Err(Failure::usage(message));
    }
    if text.len() as u64 > MOST {
        let message = format!("the grants in {name} are longer than {MOST} bytes");
        return Err(Failure::usage(message));
    }
    parse(&text).map_err(|wrong| Failure::usage(format!("the grants in {name}, {wrong}")))
}

/// Reads a text; or says which line is wrong, and why.
fn parse(text: &str) -> Result<Grants, String> {
    toml::from_str(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        let before = text.get(..at).unwrap_or(text);
        let number = before.matches('\n').count() + 1;
        let line = text.lines().nth(number - 1).unwrap_or_default().trim();
        format!("line {number}, `{line}`: {}", error.message())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use dpfw::grants::{Clocks, Randomness, Who};

    /// The example of the page.
    fn example() -> &'static str {
        let page = include_str!("../../docs/grants.md");
        let (_, from) = page.split_once("```toml\n").expect("an example");
        from.split_once("```").expect("it ends").0
    }

    #[test]
    fn the_example_of_the_page_is_taken() {
        let grants = parse(example()).expect("well formed");
        assert_eq!(grants.rules.len(), 3);
        assert!(matches!(grants.rules[0].who, Who::Module(_)));
        assert!(matches!(&grants.rules[1].who, Who::Master(name) if name.as_str() == "reports"));
        assert_eq!(grants.rules[2].who, Who::Everyone);
        assert!(
            grants.rules[0].directories[1].writable && !grants.rules[0].directories[0].writable
        );
        assert!(grants.rules[1].connect[0].covers("db.example", 5432));
        assert_eq!(grants.rules[2].clocks, Clocks::Fixed(1_767_225_600));
        assert_eq!(grants.rules[2].randomness, Randomness::Seed(7));
    }

    #[test]
    fn a_file_that_others_may_change_grants_nothing() {
        use std::os::unix::fs::{PermissionsExt, chown};
        let place = tempfile::tempdir().expect("a directory");
        let path = place.path().join("grants.toml");
        std::fs::write(&path, "").expect("written");
        let refused = |words: &str| {
            let failure = read(&path).expect_err("refused");
            assert!(failure.text.contains(words), "{}", failure.text);
        };
        // Only root can give a file away.
        if chown(&path, Some(4711), None).is_ok() {
            refused("belong to user 4711");
            chown(&path, Some(0), None).expect("ours again");
        }
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o620)).expect("changed");
        refused("others may write");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).expect("changed");
        assert!(read(&path).is_ok());
    }

    #[test]
    fn nothing_is_no_rule() {
        assert_eq!(parse(""), Ok(Grants::default()));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line_and_key() {
        let wrong = |text: &str| parse(&format!("# grants\n\n[[rule]]\n{text}")).expect_err(text);
        for (text, line, said) in [
            ("everyone = true\nenvv = []", "line 5, `envv = []`", "unknown field `envv`"),
            ("everyone = true\nenv = [\"=x\"]", "line 5, `env = [\"=x\"]`", "NAME=VALUE"),
            ("everyone = true\nconnect = [\"db\"]", "line 5, `connect = [\"db\"]`", "HOST:PORT"),
            ("module = \"f00\"", "line 4, `module = \"f00\"`", "64 hexadecimal digits"),
            ("master = \"a b\"", "line 4, `master = \"a b\"`", ""),
            ("everyone = true\nclocks = \"odd\"", "line 5, `clocks = \"odd\"`", "`odd`"),
            ("everyone = true\nrandomness = 7", "line 5, `randomness = 7`", ""),
            (
                "everyone = true\ndirectories = [{ host = \"/d\" }]",
                "line 5, `directories = [{ host = \"/d\" }]`",
                "`guest`",
            ),
            ("env = [\"A\"]", "line 3, `[[rule]]`", "everyone = true"),
            ("everyone = true\nmaster = \"m\"", "line 3, `[[rule]]`", "one of"),
            ("everyone =", "line 4, `everyone =`", ""),
        ] {
            let found = wrong(text);
            assert!(found.starts_with(line) && found.contains(said), "{text}: {found}");
        }
        let found = parse("[[rules]]\neveryone = true").expect_err("another key");
        assert!(found.contains("unknown field `rules`"), "{found}");
    }
}
