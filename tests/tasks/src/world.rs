//! Tasks that look for the world outside of their sandboxes.

use dpfw_guest::{init, resident, task};
use std::fs;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::Write;
use std::time::{Instant, SystemTime};

/// A variable of the environment.
#[task]
pub fn variable(name: String) -> Option<String> {
    std::env::var(name).ok()
}

/// All variables.
#[task]
pub fn variables() -> Vec<String> {
    std::env::vars().map(|(name, value)| format!("{name}={value}")).collect()
}

fn kind(error: &std::io::Error) -> String {
    format!("{:?}", error.kind())
}

/// What is in a file, or what kind of error there is.
#[task]
pub fn read_file(path: String) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| kind(&error))
}

/// Writes a file.
#[task]
pub fn write_file(path: String, text: String) -> Result<(), String> {
    fs::write(path, text).map_err(|error| kind(&error))
}

/// Tries every way to change something below a directory; those that went well.
#[task]
pub fn change(directory: String, file: String) -> Vec<String> {
    let (path, other) = (format!("{directory}/{file}"), format!("{directory}/other"));
    let append = || fs::OpenOptions::new().append(true).open(&path)?.write_all(b"x");
    let truncate = || fs::OpenOptions::new().write(true).truncate(true).open(&path).map(drop);
    let ways: [(&str, &dyn Fn() -> std::io::Result<()>); 8] = [
        ("create", &|| fs::write(format!("{directory}/new"), b"x")),
        ("append", &append),
        ("truncate", &truncate),
        ("rename", &|| fs::rename(&path, &other)),
        ("link", &|| fs::hard_link(&path, &other)),
        ("make a directory", &|| fs::create_dir(&other)),
        ("remove", &|| fs::remove_file(&path)),
        ("remove all", &|| fs::remove_dir_all(&directory)),
    ];
    let went_well = |(name, way): &(&str, &dyn Fn() -> std::io::Result<()>)| {
        way().is_ok().then(|| (*name).to_owned())
    };
    ways.iter().filter_map(went_well).collect()
}

/// The names below a directory.
#[task]
pub fn names(path: String) -> Result<Vec<String>, String> {
    let entries = fs::read_dir(path).map_err(|error| kind(&error))?;
    let mut names: Vec<_> =
        entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    Ok(names)
}

/// Writes to stdout, reads a file, and writes again.
#[task]
pub fn say_and_read(path: String) -> Result<String, String> {
    println!("before the file");
    let text = read_file(path)?;
    println!("behind the file");
    Ok(text)
}

/// Reads an empty file again and again.
#[task]
pub fn read_without_end(path: String) -> u64 {
    let mut read = 0;
    loop {
        read += fs::read(&path).map_or(0, |bytes| bytes.len() as u64);
        if read == u64::MAX {
            return read;
        }
    }
}

/// What clocks and randomness are here: nanoseconds since 1970, nanoseconds between two readings,
/// a random number.
#[task]
pub fn here() -> (u64, u64, u64) {
    let since = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_nanos() as u64);
    let elapsed = Instant::now().elapsed().as_nanos() as u64;
    (since, elapsed, RandomState::new().build_hasher().finish())
}

static SEEN: std::sync::OnceLock<(Vec<String>, Result<String, String>)> =
    std::sync::OnceLock::new();

/// Looks for variables and for a file while an image is made.
#[init]
pub fn look(path: String) {
    // Not by `std::fs`, which remembers in memory that it has found nothing.
    let _ = SEEN.set((variables(), Ok(path)));
}

/// What was found then, and what is now.
#[task(image = look)]
pub fn looked() -> (Vec<String>, Result<String, String>) {
    let (variables, path) = SEEN.get().cloned().unwrap_or((Vec::new(), Ok(String::new())));
    (variables, path.and_then(read_file))
}

/// Looks outside whenever it is asked.
#[derive(Debug)]
pub struct Window;

#[resident]
impl Window {
    /// Looks at nothing yet.
    pub fn new() -> Self {
        Self
    }

    /// A variable of the environment.
    pub fn variable(&mut self, name: String) -> Option<String> {
        std::env::var(name).ok()
    }

    /// What is in a file.
    pub fn read(&mut self, path: String) -> Result<String, String> {
        read_file(path)
    }
}

impl Default for Window {
    fn default() -> Self {
        Self::new()
    }
}
