//! Examples and exit codes, as `--help` and the man pages end.
//!
//! Invariant: every command has examples, and every example is a command line that this
//! program takes; a test holds both.

/// The end of a command's help: its examples, and the exit codes.
macro_rules! after {
    ($($example:literal),* $(,)?) => {
        concat!("Examples:\n", $("  ", $example, "\n",)* "\n", exit_codes!())
    };
}

macro_rules! exit_codes {
    () => {
        "\
Exit codes:
  0    done
  1    the task failed: trap, panic, error value, limit
  2    the command line or the input cannot be used
  3    the module cannot be used: not wasm, rejected, an import that is not granted
  4    no such function, or arguments that do not fit it
  5    no slave: unreachable, lost or busy; or a port that cannot be listened on
  6    some lines of a map, or of `exec --each`, failed
  7    the deadline passed
  8    the drain's time was over and tasks still ran
  9    the store has no such entry; there is no such resident
  10   the store's entry is there already, or has another version; the key is taken
  11   a crate of tasks does not compile
  70   a fault of dpfw itself or of the system
  74   standard output cannot be written
  124  exec: the deadline passed
  125  exec: the program could not be run, or not to its end
  130  ended by SIGINT
  134  exec: the program trapped or met a limit
  141  whoever read standard output is gone
  143  ended by SIGTERM"
    };
}

/// The exit codes alone.
#[cfg(test)]
pub(crate) const CODES: &str = exit_codes!();

pub(crate) const ALL: &str = after![
    "dpfw slave --listen 127.0.0.1:10000",
    "dpfw run tasks.wasm add '[2, 3]' --slave 127.0.0.1:10000",
    "dpfw slaves --slave 127.0.0.1:10000",
];
pub(crate) const SLAVE: &str = after![
    "dpfw slave --listen 127.0.0.1:10000",
    "dpfw slave --listen 127.0.0.1:0 --slots 2 --memory 1GiB --time 10m",
    "dpfw slave --dial 127.0.0.1:10000 --name left",
    "dpfw slave --listen 127.0.0.1:10000 --store /var/lib/dpfw",
    "dpfw slave --listen 127.0.0.1:10000 --grants grants.toml",
    "dpfw slave --listen 127.0.0.1:10000 --audit /var/log/dpfw/audit.jsonl --audit-keep 30",
];
pub(crate) const RUN: &str = after![
    "dpfw run tasks.wasm add '[2, 3]'",
    "dpfw run tasks.wasm add '[2, 3]' --slave 127.0.0.1:10000 --timeout 5s --receipt",
    "dpfw run gcd.wat gcd - < arguments.json",
    "dpfw run tasks.wasm search '[\"rust\"]' --slave 127.0.0.1:10000 --image index",
    "dpfw run tasks.wasm sort '[\"part\"]' --slave 127.0.0.1:10000 --near part --keep sorted",
];
pub(crate) const MAP: &str = after![
    "dpfw map tasks.wasm add < inputs.jsonl > results.jsonl",
    "dpfw map tasks.wasm add --slave 127.0.0.1:10000 --slave 127.0.0.1:10001 < inputs.jsonl",
];
pub(crate) const EXEC: &str = after![
    "dpfw exec hexyl.wasm -n 64 < photo.jpg",
    "dpfw exec --env TZ=UTC --timeout 5s prog.wasm < in > out",
    "dpfw exec --each prog.wasm --name {} --out {}.txt < names",
    "dpfw exec --each --json --slave 127.0.0.1:10000 prog.wasm < names > results.jsonl",
];
pub(crate) const INSPECT: &str = after![
    "dpfw inspect tasks.wasm",
    "dpfw inspect --check tasks.wasm",
    "dpfw inspect --json tasks.wasm > module.json",
];
pub(crate) const NEW: &str = after!["dpfw new sums --path ../dpfw", "dpfw new sums --version 0.1",];
pub(crate) const BUILD: &str = after![
    "dpfw build",
    "dpfw build sums/tasks --debug",
    "dpfw run \"$(dpfw build sums/tasks)\" add '[2, 3]'",
];
pub(crate) const STORE: &str = after![
    "dpfw store put colours/sky '\"blue\"' --slave 127.0.0.1:10000",
    "dpfw store get colours/sky --slave 127.0.0.1:10000",
    "dpfw store put notes --text --slave 127.0.0.1:10000 < notes.txt",
    "dpfw store cas colours/sky 7 '\"red\"' --slave 127.0.0.1:10000",
    "dpfw store put weather '\"sunny\"' --ttl 1h --slave 127.0.0.1:10000",
    "dpfw store list colours/ --slave 127.0.0.1:10000",
    "dpfw store watch colours/ --present --slave 127.0.0.1:10000",
];
pub(crate) const IMAGE: &str = after![
    "dpfw image build tasks.wasm words '[\"to be or not\"]' --name words --slave 127.0.0.1:10000",
    "dpfw run tasks.wasm word '[1]' --image words --slave 127.0.0.1:10000",
    "dpfw image list --slave 127.0.0.1:10000",
    "dpfw image drop words --slave 127.0.0.1:10000",
];
pub(crate) const RESIDENT: &str = after![
    "dpfw resident spawn tasks.wasm counter.new hits '[0]' --slave 127.0.0.1:10000",
    "dpfw resident spawn tasks.wasm counter.new hits '[0]' --restart-every 1s --retries 3 --slave 127.0.0.1:10000",
    "dpfw resident call hits bump --slave 127.0.0.1:10000",
    "dpfw resident cast hits skip '[10]' --slave 127.0.0.1:10000",
    "dpfw resident list --slave 127.0.0.1:10000 --slave 127.0.0.1:10001",
    "dpfw resident stop hits --slave 127.0.0.1:10000",
];
pub(crate) const SLAVES: &str = after![
    "dpfw slaves --slave 127.0.0.1:10000 --slave 127.0.0.1:10001",
    "dpfw slaves --slave 127.0.0.1:10000 --watch",
    "dpfw slaves --slave 127.0.0.1:10000 --json",
];
pub(crate) const DRAIN: &str =
    after!["dpfw drain --slave 127.0.0.1:10000", "dpfw drain --slave 127.0.0.1:10000 --wait",];
pub(crate) const CERTS: &str = after![
    "dpfw certs init certs",
    "dpfw certs issue --role slave --name slave-1 --san slave-1.example.org --san 10.0.0.7",
    "dpfw certs issue --role master --name batch --namespace team-a --days 30",
    "dpfw certs renew slave-1",
    "dpfw certs revoke slave-1",
    "dpfw certs show",
    "dpfw certs show certs/slave-1.pem",
];
pub(crate) const COMPLETIONS: &str = after![
    "dpfw completions bash > ~/.local/share/bash-completion/completions/dpfw",
    "dpfw completions zsh > ~/.zfunc/_dpfw",
];
pub(crate) const MAN: &str = after!["dpfw man ~/.local/share/man/man1", "dpfw man > dpfw.1",];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Dpfw;
    use clap::{CommandFactory, Parser};

    /// An example's words as a shell has them, up to what is redirected.
    fn words(example: &str) -> Vec<String> {
        let mut words = vec![String::new()];
        let mut quote = None;
        for c in example.chars() {
            match (quote, c) {
                (Some(open), c) if c == open => quote = None,
                (None, '\'' | '"') => quote = Some(c),
                (None, ' ') => words.push(String::new()),
                (_, c) => words.last_mut().expect("one").push(c),
            }
        }
        words.into_iter().take_while(|word| word != "<" && word != ">").collect()
    }

    #[test]
    fn examples_are_command_lines_that_are_taken() {
        let all = [
            ALL,
            SLAVE,
            RUN,
            MAP,
            EXEC,
            INSPECT,
            NEW,
            BUILD,
            STORE,
            IMAGE,
            RESIDENT,
            SLAVES,
            DRAIN,
            CERTS,
            COMPLETIONS,
            MAN,
        ];
        for example in all.iter().flat_map(|help| help.lines().take_while(|line| !line.is_empty()))
        {
            let Some(example) = example.strip_prefix("  ") else { continue };
            let words = words(example);
            assert_eq!(words[0], "dpfw", "{example}");
            assert!(Dpfw::try_parse_from(&words).is_ok(), "{example}: {words:?}");
        }
    }

    #[test]
    fn every_command_has_examples_and_the_exit_codes() {
        Dpfw::command().debug_assert();
        for command in Dpfw::command().get_subcommands() {
            let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(after.starts_with("Examples:\n"), "{}", command.get_name());
            assert!(after.ends_with(CODES), "{}", command.get_name());
        }
    }
}
