//! Compiled modules and images on disk, kept between runs.
//!
//! Compiled code is code: whoever can write it can do what this process can. So the
//! directory has to be this user's own and closed to others (mode 0700), and every file
//! carries a keyed hash that only this user's slaves can make, over the configuration (in which are
//! the compiler's version and the limits), the module's name, what was found in it, and the code.
//! What does not agree, and what is a link or no file of this user's alone, is deleted and compiled
//! afresh. The code of an image is as long as its memory, and is read again only if it is not
//! the very file that was written, untouched since. The cache is bounded, what other versions and configurations left behind
//! included; what was not used for longest goes first. A module that was given away stays
//! whole whoever deletes its file: it is given as the open file. What images are called stands
//! beside their code (`names`).

use super::code::CodeId;
use super::facts::Facts;
use super::image::ImageFacts;
use crate::private::{
    UNFINISHED, check_private, foreign, make_private, open_own, trusted, write_whole,
};
use crate::scarce;
use dpfw_protocol::ids::ModuleHash;
use names::Names;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

mod names;
#[cfg(test)]
mod tests;

pub(crate) use names::{Again, Named};

/// The cache's size on disk unless told. A compiled module takes about three times its wasm, an
/// image twice its memory: what is mapped, and what can be sent.
const MOST: u64 = 4 << 30;

/// A directory of compiled modules.
#[derive(Debug)]
pub(crate) struct Cache {
    /// What is bounded: the modules of every configuration, each in a directory of its own.
    root: PathBuf,
    /// Where this configuration's are.
    dir: PathBuf,
    most: u64,
    configuration: u64,
    key: [u8; 32],
    /// Nothing where no names are kept.
    names: Option<Names>,
    /// Deleted with the slave, where no directory could be kept.
    temporary: Option<tempfile::TempDir>,
}

/// A compiled module in the cache.
#[derive(Debug)]
pub(crate) struct Artifact {
    /// The code, to be mapped. Open, so that each slot maps the same, when it first runs it.
    pub(crate) code: fs::File,
    /// What was found in the module.
    pub(crate) facts: Facts,
    /// Whether its memory is a snapshot: nothing is left to initialise.
    pub(crate) warmed: bool,
    /// What it is an image of, if it is one.
    pub(crate) image: Option<ImageFacts>,
}

/// What stands beside the code.
#[derive(Serialize, Deserialize)]
pub(crate) struct Label {
    facts: Facts,
    warmed: bool,
    image: Option<ImageFacts>,
    /// Of the code.
    hash: [u8; 32],
    /// The file that was written.
    file: Option<Identity>,
}

impl Label {
    /// What was found in code that is to be kept.
    pub(crate) fn new(facts: Facts, warmed: bool, image: Option<ImageFacts>) -> Self {
        Self { facts, warmed, image, hash: [0; 32], file: None }
    }

    fn into_artifact(self, code: fs::File) -> Artifact {
        let Self { facts, warmed, image, .. } = self;
        Artifact { code, facts, warmed, image }
    }
}

/// A file, and when it was written to last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Identity {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Identity {
    fn of(file: &fs::File) -> io::Result<Self> {
        use std::os::unix::fs::MetadataExt;
        let data = file.metadata()?;
        Ok(Self {
            device: data.dev(),
            inode: data.ino(),
            size: data.size(),
            modified: (data.mtime(), data.mtime_nsec()),
            changed: (data.ctime(), data.ctime_nsec()),
        })
    }
}

impl Cache {
    /// Opens a directory, or makes it. If it cannot be trusted, a temporary one is used,
    /// and the log says why.
    ///
    /// # Errors
    /// An I/O error if there is no place for compiled code at all.
    pub(crate) fn open(dir: Option<&Path>, configuration: u64) -> io::Result<Self> {
        let kept = match dir {
            Some(dir) => trusted(dir),
            None => Err(io::Error::other("no directory was given and HOME is not set")),
        };
        match kept {
            Ok(key) => {
                let root = dir.map(Path::to_path_buf).unwrap_or_default();
                let dir = root.join(directory(configuration));
                make_private(&dir)?;
                Ok(Self { root, dir, most: MOST, configuration, key, names: None, temporary: None })
            }
            Err(error) => {
                tracing::warn!(%error, "compiled modules are not kept between runs");
                Self::temporary()
            }
        }
    }

    /// A directory that is deleted with the slave.
    ///
    /// # Errors
    /// An I/O error if there is no place for one.
    pub(crate) fn temporary() -> io::Result<Self> {
        use std::os::unix::fs::PermissionsExt;
        let private = fs::Permissions::from_mode(0o700);
        let temporary = tempfile::Builder::new().prefix("dpfw-").permissions(private).tempdir()?;
        let root = temporary.path().to_path_buf();
        check_private(&root)?;
        let dir = root.join(directory(0));
        make_private(&dir)?;
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(io::Error::other)?;
        let (names, temporary) = (None, Some(temporary));
        let (most, configuration) = (MOST, 0);
        Ok(Self { root, dir, most, configuration, key, names, temporary })
    }

    /// Has so many bytes at most.
    pub(crate) fn bounded(self, most: u64) -> Self {
        Self { most, ..self }
    }

    fn path(&self, code: CodeId, part: Part) -> PathBuf {
        self.dir.join(format!("{}.{}", code.file_name(), part.extension()))
    }

    /// The compiled code, if it is there and true.
    pub(crate) fn get(&self, code: CodeId) -> Option<Artifact> {
        match self.find(code) {
            Ok(found) => Some(found),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) if scarce::is_lack(&error) => {
                tracing::warn!(%code, %error, "compiled code cannot be read now");
                None
            }
            Err(error) => {
                tracing::warn!(%code, %error, "compiled code is not trusted, and deleted");
                self.remove(code);
                None
            }
        }
    }

    fn find(&self, code: CodeId) -> io::Result<Artifact> {
        let (file, label): (_, Label) = self.read_signed(code, Part::Label, MOST_LABEL)?;
        // What is looked at is what will be mapped, whatever then stands under its name.
        let mapped = open_own(&self.path(code, Part::Code))?;
        let is_untouched = label.image.is_some() && label.file == Some(Identity::of(&mapped)?);
        if !is_untouched {
            let mut hasher = blake3::Hasher::new();
            hasher.update_reader(&mapped)?;
            if hasher.finalize() != blake3::Hash::from_bytes(label.hash) {
                return Err(foreign("its code is not what was written"));
            }
        }
        mark(&file);
        Ok(label.into_artifact(mapped))
    }

    /// Compiled code is used that was found here before.
    pub(crate) fn touch(&self, code: CodeId) {
        // What was only lent, or is gone by now, has no label.
        if let Ok(label) = open_own(&self.path(code, Part::Label)) {
            mark(&label);
        }
    }

    /// What a part says that has its keyed hash before it, and its file.
    fn read_signed<T: DeserializeOwned>(
        &self,
        code: CodeId,
        part: Part,
        most: u64,
    ) -> io::Result<(fs::File, T)> {
        let file = open_own(&self.path(code, part))?;
        let mut bytes = Vec::new();
        (&file).take(most).read_to_end(&mut bytes)?;
        let (mac, body) = bytes.split_first_chunk::<32>().ok_or(foreign("it is cut off"))?;
        if blake3::Hash::from_bytes(*mac) != self.mac(code, part, body) {
            return Err(foreign("it was not written by this user's slaves"));
        }
        let said = rmp_serde::from_slice(body).map_err(io::Error::other)?;
        Ok((file, said))
    }

    fn write_signed(&self, code: CodeId, part: Part, body: &[u8]) -> io::Result<()> {
        let mac = self.mac(code, part, body);
        write_whole(&self.dir, &self.path(code, part), &[mac.as_bytes(), body]).map(drop)
    }

    /// What stands before a label, or before the names of an image.
    fn mac(&self, code: CodeId, part: Part, body: &[u8]) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        let kind = match (part, code) {
            (Part::Names, _) => 2,
            (_, CodeId::Image(_)) => 1,
            (_, CodeId::Module(_)) => 0,
        };
        hasher.update(&self.configuration.to_le_bytes()).update(&[kind]);
        hasher.update(code.as_bytes()).update(body).finalize()
    }

    /// Keeps compiled code, and the snapshot that it was compiled from, which is dropped when
    /// it is written.
    ///
    /// # Errors
    /// An I/O error if it cannot be written: the disk is full.
    pub(crate) fn put(
        &self,
        code: CodeId,
        label: Label,
        compiled: &[u8],
        snapshot: Option<Vec<u8>>,
    ) -> io::Result<Artifact> {
        if let Some(snapshot) = snapshot {
            write_whole(&self.dir, &self.path(code, Part::Snapshot), &[&snapshot])?;
        }
        let hash = *blake3::hash(compiled).as_bytes();
        let file = write_whole(&self.dir, &self.path(code, Part::Code), &[compiled])?;
        let label = Label { hash, file: Some(Identity::of(&file)?), ..label };
        let body = rmp_serde::to_vec(&label).map_err(io::Error::other)?;
        self.write_signed(code, Part::Label, &body)?;
        self.shrink();
        Ok(label.into_artifact(file))
    }

    /// Gives compiled code a file for as long as it is used, and no longer.
    ///
    /// # Errors
    /// An I/O error if it cannot be written: the disk is full.
    pub(crate) fn borrow(&self, label: Label, compiled: &[u8]) -> io::Result<Artifact> {
        let mut file = tempfile::tempfile_in(&self.dir)?;
        file.write_all(compiled)?;
        Ok(label.into_artifact(file))
    }

    /// The snapshot of an image that was built here, which has this hash and so many bytes.
    ///
    /// # Errors
    /// An I/O error if it is not there any more, or not what was written.
    pub(crate) fn snapshot(&self, code: CodeId, hash: ModuleHash, len: u64) -> io::Result<Vec<u8>> {
        let mut snapshot = Vec::new();
        open_own(&self.path(code, Part::Snapshot))?.take(len).read_to_end(&mut snapshot)?;
        match ModuleHash::of(&snapshot) == hash {
            true => Ok(snapshot),
            false => Err(foreign("it is not what was written")),
        }
    }

    /// Forgets compiled code.
    pub(crate) fn remove(&self, code: CodeId) {
        for part in Part::ALL {
            // What is not there need not be removed; what cannot be is found out again.
            let _ = fs::remove_file(self.path(code, part));
        }
    }

    /// Removes what was not used for longest, until the rest fits.
    fn shrink(&self) {
        let mut kept: Vec<Kept> = self.kept().into_values().collect();
        let mut total: u64 = kept.iter().map(|module| module.bytes).sum();
        kept.sort_unstable_by_key(|module| module.used);
        for module in kept {
            if total <= self.most {
                break;
            }
            // What cannot be removed is tried again the next time.
            let gone = module.files.iter().all(|path| fs::remove_file(path).is_ok());
            total -= if gone { module.bytes } else { 0 };
        }
    }

    /// All files of all configurations, those of one module together. What else there is in
    /// a directory that somebody chose is not the cache's.
    fn kept(&self) -> HashMap<PathBuf, Kept> {
        let mut kept: HashMap<PathBuf, Kept> = HashMap::new();
        let within = |dir: &Path| fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok);
        let ours = within(&self.root).filter(is_configuration);
        for file in ours.flat_map(|dir| within(&dir.path())).filter(is_part) {
            let (path, Ok(data)) = (file.path(), file.metadata()) else {
                continue;
            };
            let module = kept.entry(path.with_extension("")).or_default();
            module.used = module.used.max(data.modified().ok());
            module.bytes += data.len();
            module.files.push(path);
        }
        kept
    }
}

/// The name of a configuration's directory.
fn directory(configuration: u64) -> String {
    format!("{configuration:016x}")
}

fn is_configuration(entry: &fs::DirEntry) -> bool {
    let name = entry.file_name();
    let number = name.to_str().and_then(|name| u64::from_str_radix(name, 16).ok());
    // Not followed if it is a link.
    let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
    is_dir && number.is_some_and(|number| name.to_str() == Some(&directory(number)))
}

/// The files of one module or image.
#[derive(Clone, Copy)]
enum Part {
    Code,
    Label,
    /// What an image's code was compiled from.
    Snapshot,
    /// What an image is called.
    Names,
}

impl Part {
    const ALL: [Self; 4] = [Self::Label, Self::Code, Self::Snapshot, Self::Names];

    fn extension(self) -> &'static str {
        match self {
            Self::Code => "code",
            Self::Label => "label",
            Self::Snapshot => "snapshot",
            Self::Names => "names",
        }
    }
}

/// A part, or what a slave was writing when it died.
fn is_part(entry: &fs::DirEntry) -> bool {
    let path = entry.path();
    let is_unfinished = entry.file_name().as_encoded_bytes().starts_with(UNFINISHED.as_bytes());
    let parts = Part::ALL.map(Part::extension);
    is_unfinished || path.extension().is_some_and(|ext| parts.iter().any(|part| ext == *part))
}

/// A module's files on disk.
#[derive(Default)]
struct Kept {
    used: Option<SystemTime>,
    bytes: u64,
    files: Vec<PathBuf>,
}

/// What a label is of is used now.
fn mark(label: &fs::File) {
    // Only the order of removal depends on it.
    let _ = label.set_modified(SystemTime::now());
}

/// Bytes of a label: of a module's size are its names at most, written twice.
const MOST_LABEL: u64 = 4 * dpfw_protocol::limits::MAX_MODULE;
