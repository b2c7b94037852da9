//! The tasks of the whole-system tests that connect to somebody.
//!
//! A crate of its own: its module imports what connects, so it is refused where no connection is
//! granted.
//!
//! Owns: one task for each thing that can be done with a connection. Does not: assert; the tests
//! do.

use dpfw_guest::net::TcpStream;
use dpfw_guest::{resident, task};
use std::io::{self, Read, Write};

dpfw_guest::module!();

/// Says something, and gives the whole answer.
#[task]
pub fn ask(address: String, text: String) -> Result<String, String> {
    talk(&address, &text).map_err(|error| format!("{:?}: {error}", error.kind()))
}

fn talk(address: &str, text: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(text.as_bytes())?;
    stream.end()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// How many connections it can have to there at once, and why there are no more.
#[task]
pub fn many(address: String) -> (u64, String) {
    let mut all = Vec::new();
    loop {
        match TcpStream::connect(&address) {
            Ok(stream) => all.push(stream),
            Err(error) => return (all.len() as u64, error.to_string()),
        }
    }
}

/// Has one connection for all of its calls.
#[derive(Debug)]
pub struct Line(TcpStream);

#[resident]
impl Line {
    /// Connects.
    pub fn new(address: String) -> Result<Self, String> {
        TcpStream::connect(&address).map(Self).map_err(|error| error.to_string())
    }

    /// Says something, and gives as many bytes of the answer.
    pub fn say(&mut self, text: String) -> Result<String, String> {
        let mut answer = vec![0; text.len()];
        self.0.write_all(text.as_bytes()).map_err(|error| error.to_string())?;
        self.0.read_exact(&mut answer).map_err(|error| error.to_string())?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }
}
