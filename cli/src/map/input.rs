//! Standard input, read by a thread of its own.
//!
//! Owns: lines, their numbers, and the calls made of them. Invariants: what is read ahead
//! is bounded by [`AHEAD`] buffers and one line; a line that is too long is passed over
//! without being held.

use super::pairing::Line;
use crate::exit::{Exit, Failure};
use crate::json::{self, Json};
use crate::module::Function;
use dpfw::Call;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek};
use std::os::fd::AsFd;
use std::sync::Arc;
use tokio::sync::mpsc;

/// A line of the input.
#[derive(Debug)]
pub(super) enum Entry {
    Call(Line, Call<Json>),
    /// No call can be made of it.
    Refused(Line, Failure),
    /// Nothing more can be read.
    Broken(String),
}

/// What comes from standard input.
#[derive(Debug)]
pub(super) struct Input {
    pub(super) entries: mpsc::Receiver<Vec<Entry>>,
    /// The input's length, if it is a file.
    pub(super) total_bytes: Option<u64>,
}

/// Read at once: enough that a system call and a wake-up cost nothing beside the lines.
const BUFFER: usize = 64 * 1024;

/// Buffers that have been read and whose calls are not taken yet.
const AHEAD: usize = 4;

/// The longest line: no program writes longer ones by intent.
const LONGEST: usize = 256 << 20;

/// Starts to read.
///
/// The thread is not joined: a read of a terminal or a pipe cannot be interrupted, and
/// ends with the process.
///
/// # Errors
/// What the system says.
pub(super) fn read(function: Arc<Function>) -> io::Result<Input> {
    let stdin = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let total_bytes = length()?;
    let (sender, entries) = mpsc::channel(AHEAD);
    let reader = std::thread::Builder::new().name("dpfw-input".into());
    reader.spawn(move || {
        let stdin = BufReader::with_capacity(BUFFER, stdin);
        lines(stdin, &function, LONGEST, |batch| sender.blocking_send(batch).is_ok());
    })?;
    Ok(Input { entries, total_bytes })
}

/// How much is left of standard input, if it is a file.
///
/// # Errors
/// What the system says.
pub(crate) fn length() -> io::Result<Option<u64>> {
    let mut stdin = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let data = stdin.metadata()?;
    let at = stdin.stream_position().unwrap_or(0);
    Ok(data.is_file().then(|| data.len().saturating_sub(at)))
}

/// Reads lines to the end, and gives them in batches as they come, for as long as `give`
/// takes them.
fn lines(
    mut input: impl BufRead,
    function: &Function,
    longest: usize,
    mut give: impl FnMut(Vec<Entry>) -> bool,
) {
    let mut open = Open { text: Vec::new(), bytes: 0, number: 1, longest };
    loop {
        let buffer = match input.fill_buf() {
            Ok(buffer) => buffer,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                give(vec![Entry::Broken(format!("standard input cannot be read: {error}"))]);
                return;
            }
        };
        let read = buffer.len();
        let mut batch = Vec::new();
        for piece in buffer.split_inclusive(|&b| b == b'\n') {
            open.push(piece);
            if piece.ends_with(b"\n") {
                batch.push(open.take(function));
            }
        }
        if read == 0 && open.bytes > 0 {
            batch.push(open.take(function));
        }
        if (!batch.is_empty() && !give(batch)) || read == 0 {
            return;
        }
        input.consume(read);
    }
}

/// The line that is being read.
struct Open {
    /// As much of it as is held.
    text: Vec<u8>,
    bytes: u64,
    number: u64,
    longest: usize,
}

impl Open {
    fn push(&mut self, piece: &[u8]) {
        self.bytes += piece.len() as u64;
        match self.bytes > self.longest as u64 {
            true => self.text = Vec::new(),
            false => self.text.extend_from_slice(piece),
        }
    }

    /// The line, which is whole.
    fn take(&mut self, function: &Function) -> Entry {
        let line = Line { number: self.number, bytes: self.bytes };
        let call = match self.bytes > self.longest as u64 {
            true => Err(Failure::usage(format!("it is longer than {} bytes", self.longest))),
            false => call(&self.text, function),
        };
        (self.bytes, self.number) = (0, self.number + 1);
        self.text.clear();
        match call {
            Ok(call) => Entry::Call(line, call),
            Err(failure) => Entry::Refused(line, failure),
        }
    }
}

fn call(text: &[u8], function: &Function) -> Result<Call<Json>, Failure> {
    let arguments = json::arguments(text).map_err(Failure::usage)?;
    function.call(&arguments).map_err(|text| Failure::new(Exit::Call, text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::module;
    use std::io::Write;

    fn function() -> Function {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(b"(module (func (export \"f\") (param i64)))").expect("written");
        module::load(file.path()).and_then(|module| module.function("f")).expect("a function")
    }

    /// The lines as text, read in buffers of any size.
    fn read(input: &[u8], buffer: usize) -> Vec<String> {
        let mut all = Vec::new();
        lines(BufReader::with_capacity(buffer, input), &function(), 12, |batch| {
            all.extend(batch.into_iter().map(|entry| match entry {
                Entry::Call(line, call) => format!("{}: {call}", line.number),
                Entry::Refused(line, failure) => {
                    let why = failure.text.split(';').next().unwrap_or_default().to_owned();
                    format!("{} of {} bytes: {why}", line.number, line.bytes)
                }
                Entry::Broken(error) => error,
            }));
            true
        });
        all
    }

    #[test]
    fn lines_are_calls_however_they_are_cut() {
        let input = b"[1]\r\n\n[2\n[10,  11]\n[22222222222]\n{}\n[3]";
        for buffer in [1, 2, 3, 5, 64, 4096] {
            assert_eq!(
                read(input, buffer),
                [
                    "1: f(1)",
                    "2 of 1 bytes: it is empty",
                    "3 of 3 bytes: it is no JSON: EOF while parsing a list at line 2 column 0",
                    "4: f(10, 11)",
                    "5 of 14 bytes: it is longer than 12 bytes",
                    "6 of 3 bytes: it is an object, not an array",
                    "7: f(3)",
                ]
            );
        }
        assert_eq!(read(b"", 64), [""; 0]);
    }

    #[test]
    fn a_broken_input_is_told() {
        let directory = File::open("/").expect("a directory");
        let mut told = Vec::new();
        lines(BufReader::new(directory), &function(), 12, |batch| {
            told.extend(batch);
            true
        });
        let [Entry::Broken(error)] = &told[..] else { panic!("{told:?}") };
        assert!(error.starts_with("standard input cannot be read: Is a directory"), "{error}");
    }

    #[test]
    fn nothing_is_read_for_nobody() {
        let mut batches = 0;
        lines(BufReader::with_capacity(4, &b"[1]\n[2]\n[3]\n"[..]), &function(), 12, |_| {
            batches += 1;
            false
        });
        assert_eq!(batches, 1);
    }
}
