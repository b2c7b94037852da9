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
use crate::scarce;
use dpfw_protocol::ids::ModuleHash;
use names::Names;
use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

mod names;

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
    _temporary: Option<tempfile::TempDir>,
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
                Ok(Self {
                    root,
                    dir,
                    most: MOST,
                    configuration,
                    key,
                    names: None,
                    _temporary: None,
                })
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
        Ok(Self { root, dir, most, configuration, key, names, _temporary: temporary })
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
        let file = open_own(&self.path(code, Part::Label))?;
        let mut bytes = Vec::new();
        (&file).take(MOST_LABEL).read_to_end(&mut bytes)?;
        let (mac, body) = bytes.split_first_chunk::<32>().ok_or(foreign("its label is cut off"))?;
        if blake3::Hash::from_bytes(*mac) != self.mac(code, Part::Label, body) {
            return Err(foreign("its label was not written by this user's slaves"));
        }
        let label: Label = rmp_serde::from_slice(body).map_err(io::Error::other)?;
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
        let path = self.path(code, Part::Label);
        let mac = self.mac(code, Part::Label, &body);
        write_whole(&self.dir, &path, &[mac.as_bytes(), &body])?;
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

/// How files are called that are being written.
const UNFINISHED: &str = ".tmp";

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

fn foreign(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

/// Writes a file so that it is there whole or not at all, and gives it.
fn write_whole(dir: &Path, path: &Path, parts: &[&[u8]]) -> io::Result<fs::File> {
    let mut file = tempfile::Builder::new().prefix(UNFINISHED).tempfile_in(dir)?;
    for part in parts {
        file.write_all(part)?;
    }
    file.persist(path).map_err(|e| e.error)
}

/// Opens a file that is this user's alone: what others may write to could be changed after it was
/// looked at.
fn open_own(path: &Path) -> io::Result<fs::File> {
    // A pipe would be waited at.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Err(rustix::io::Errno::LOOP) => return Err(foreign("it is a link")),
        opened => opened?,
    };
    let stat = rustix::fs::fstat(&file)?;
    if !rustix::fs::FileType::from_raw_mode(stat.st_mode).is_file() {
        return Err(foreign("it is no file"));
    }
    if !is_own(&stat) {
        return Err(foreign("it is open to other users, or another's"));
    }
    Ok(file.into())
}

/// Whether something is this user's, and nobody else's to read or write.
fn is_own(stat: &rustix::fs::Stat) -> bool {
    stat.st_uid == rustix::process::geteuid().as_raw() && stat.st_mode & 0o077 == 0
}

/// Bytes of a label: of a module's size are its names at most, written twice.
const MOST_LABEL: u64 = 4 * dpfw_protocol::limits::MAX_MODULE;

/// Makes a directory that is this user's own and closed to others, or looks whether it is.
///
/// # Errors
/// An I/O error if it is not, or cannot be.
pub(crate) fn make_private(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    match fs::DirBuilder::new().recursive(true).mode(0o700).create(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => check_private(dir),
    }
}

fn check_private(dir: &Path) -> io::Result<()> {
    let stat = rustix::fs::statat(CWD, dir, AtFlags::SYMLINK_NOFOLLOW)?;
    let at = dir.display();
    if !rustix::fs::FileType::from_raw_mode(stat.st_mode).is_dir() {
        return Err(io::Error::other(format!("{at} is no directory of its own")));
    }
    if stat.st_uid != rustix::process::geteuid().as_raw() {
        return Err(io::Error::other(format!("{at} belongs to another user")));
    }
    if stat.st_mode & 0o077 != 0 {
        return Err(io::Error::other(format!("{at} is open to other users; chmod 700 it")));
    }
    Ok(())
}

/// The key of a directory that is this user's own; made with the directory.
fn trusted(dir: &Path) -> io::Result<[u8; 32]> {
    make_private(dir)?;
    let path = dir.join("key");
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = match rustix::fs::open(&path, flags, Mode::empty()) {
        Ok(file) => file,
        Err(rustix::io::Errno::NOENT) => {
            make_key(dir, &path)?;
            rustix::fs::open(&path, flags, Mode::empty())?
        }
        Err(error) => return Err(error.into()),
    };
    let stat = rustix::fs::fstat(&file)?;
    if !is_own(&stat) {
        let at = path.display();
        return Err(io::Error::other(format!("{at} is open to other users; delete it")));
    }
    let mut key = [0; 32];
    fs::File::from(file).read_exact(&mut key)?;
    Ok(key)
}

fn make_key(dir: &Path, path: &Path) -> io::Result<()> {
    let mut key = [0; 32];
    getrandom::fill(&mut key).map_err(io::Error::other)?;
    // Made with mode 0600, whole before it has its name; of two that try, one wins.
    let mut file = tempfile::NamedTempFile::new_in(dir)?;
    file.write_all(&key)?;
    match file.persist_noclobber(path) {
        Err(error) if error.error.kind() != io::ErrorKind::AlreadyExists => Err(error.error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;
    use std::os::unix::fs::PermissionsExt;

    type Outcome = Result<(), Box<dyn std::error::Error>>;

    const HASH: CodeId = CodeId::Module(ModuleHash::from_bytes([7; 32]));

    fn filled(dir: &Path) -> Result<Cache, Box<dyn std::error::Error>> {
        let cache = Cache::open(Some(dir), 1)?;
        cache.put(HASH, label()?, b"code", None)?;
        Ok(cache)
    }

    fn label() -> Result<Label, Box<dyn std::error::Error>> {
        let facts = Facts::of(&wat::parse_str("(module)")?, &Limits::default())?;
        Ok(Label::new(facts, true, None))
    }

    fn content(artifact: &Artifact) -> io::Result<Vec<u8>> {
        use std::os::unix::fs::FileExt;
        let mut bytes = vec![0; artifact.code.metadata()?.len() as usize];
        artifact.code.read_exact_at(&mut bytes, 0)?;
        Ok(bytes)
    }

    #[test]
    fn what_was_given_away_outlives_its_file() -> Outcome {
        let home = tempfile::tempdir()?;
        let dir = home.path().join("cache");
        let cache = filled(&dir)?;
        let put = cache.put(HASH, label()?, b"code", None)?;
        let got = cache.get(HASH).ok_or("not there")?;
        fs::remove_dir_all(&dir)?;
        assert_eq!((content(&put)?, content(&got)?), (b"code".to_vec(), b"code".to_vec()));
        Ok(())
    }

    #[test]
    fn all_configurations_together_are_bounded_and_the_oldest_goes_first() -> Outcome {
        let home = tempfile::tempdir()?;
        let dir = home.path().join("cache");
        let module = |n| CodeId::Module(ModuleHash::from_bytes([n; 32]));
        let long_ago = SystemTime::UNIX_EPOCH;
        let caches: Vec<_> =
            (0..3).map(|n| Cache::open(Some(&dir), n)).collect::<io::Result<_>>()?;
        for (n, cache) in caches.iter().enumerate() {
            let put = cache.put(module(n as u8), label()?, &[1; 1000], None)?;
            put.code.set_modified(long_ago + std::time::Duration::from_secs(n as u64))?;
            let path = cache.path(module(n as u8), Part::Label);
            let label = fs::File::options().append(true).open(path)?;
            label.set_modified(long_ago)?;
        }
        // The one that is oldest is used.
        assert!(caches[0].get(module(0)).is_some());
        let mut last = Cache::open(Some(&dir), 3)?;
        last.most = 3 * 1000 + 999;
        // What somebody else keeps there, and what nobody finished.
        let (others, unfinished) = (dir.join("others"), last.dir.join(".tmp123"));
        fs::create_dir(&others)?;
        for path in [&others.join("a.code"), &unfinished] {
            fs::File::create(path)?.set_modified(long_ago)?;
        }
        last.put(module(3), label()?, &[1; 1000], None)?;
        let left: Vec<bool> =
            caches.iter().enumerate().map(|(n, c)| c.get(module(n as u8)).is_some()).collect();
        assert_eq!(left, [true, false, true]);
        assert!(last.get(module(3)).is_some() && dir.join("key").exists());
        assert!(others.join("a.code").exists() && !unfinished.exists());
        Ok(())
    }

    #[test]
    fn what_was_put_is_there_for_the_next_process() -> Outcome {
        let home = tempfile::tempdir()?;
        let dir = home.path().join("cache");
        drop(filled(&dir)?);
        let again = Cache::open(Some(&dir), 1)?;
        let artifact = again.get(HASH).ok_or("not there")?;
        assert!(artifact.warmed);
        assert_eq!(content(&artifact)?, b"code");
        assert_eq!(fs::metadata(&dir)?.permissions().mode() & 0o777, 0o700);
        assert!(Cache::open(Some(&dir), 2)?.get(HASH).is_none());
        Ok(())
    }

    #[test]
    fn what_was_changed_is_deleted() -> Outcome {
        for change in ["code", "label"] {
            let home = tempfile::tempdir()?;
            let cache = filled(&home.path().join("cache"))?;
            let [code, label] = [Part::Code, Part::Label].map(|part| cache.path(HASH, part));
            let path = if change == "code" { &code } else { &label };
            let mut bytes = fs::read(path)?;
            bytes[0] ^= 1;
            fs::write(path, bytes)?;
            assert!(cache.get(HASH).is_none(), "a changed {change} was trusted");
            assert!(!code.exists() && !label.exists());
        }
        Ok(())
    }

    #[test]
    fn a_label_of_another_module_is_not_taken() -> Outcome {
        let home = tempfile::tempdir()?;
        let cache = filled(&home.path().join("cache"))?;
        let other = CodeId::Module(ModuleHash::from_bytes([8; 32]));
        for part in [Part::Code, Part::Label] {
            fs::copy(cache.path(HASH, part), cache.path(other, part))?;
        }
        assert!(cache.get(other).is_none());
        Ok(())
    }

    #[test]
    fn f53_code_of_another_configuration_is_not_taken() -> Outcome {
        let home = tempfile::tempdir()?;
        let dir = home.path().join("cache");
        let cache = filled(&dir)?;
        // The same key, the same module: another compiler, or other limits.
        let other = Cache::open(Some(&dir), 2)?;
        for part in [Part::Code, Part::Label] {
            fs::copy(cache.path(HASH, part), other.path(HASH, part))?;
        }
        assert!(other.get(HASH).is_none());
        assert!(!other.path(HASH, Part::Code).exists() && cache.get(HASH).is_some());
        Ok(())
    }

    #[test]
    fn f53_links_and_files_that_others_may_change_are_not_taken() -> Outcome {
        let home = tempfile::tempdir()?;
        let dir = home.path().join("cache");
        for part in [Part::Code, Part::Label] {
            let cache = filled(&dir)?;
            let (path, elsewhere) = (cache.path(HASH, part), home.path().join("elsewhere"));
            // What is there is true now, and another's to change.
            fs::rename(&path, &elsewhere)?;
            std::os::unix::fs::symlink(&elsewhere, &path)?;
            assert!(cache.get(HASH).is_none());
            assert!(fs::symlink_metadata(&path).is_err() && elsewhere.exists());
            let cache = filled(&dir)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o620))?;
            assert!(cache.get(HASH).is_none() && !path.exists());
            // A pipe, at which whoever opens it would wait.
            let cache = filled(&dir)?;
            fs::remove_file(&path)?;
            rustix::fs::mknodat(CWD, &path, rustix::fs::FileType::Fifo, Mode::RUSR, 0)?;
            assert!(cache.get(HASH).is_none() && !path.exists());
        }
        Ok(())
    }

    #[test]
    fn f53_a_key_that_others_can_read_makes_nothing_trusted() -> Outcome {
        let home = tempfile::tempdir()?;
        let dir = home.path().join("cache");
        drop(filled(&dir)?);
        let key = dir.join("key");
        assert_eq!(fs::metadata(&key)?.permissions().mode() & 0o777, 0o600);
        for mode in [0o644, 0o640, 0o602] {
            fs::set_permissions(&key, fs::Permissions::from_mode(mode))?;
            let cache = Cache::open(Some(&dir), 1)?;
            assert!(cache.get(HASH).is_none() && !cache.dir.starts_with(&dir), "mode {mode:o}");
        }
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600))?;
        assert!(Cache::open(Some(&dir), 1)?.get(HASH).is_some());
        // A link to a key that somebody else knows, and one that is cut off.
        let elsewhere = home.path().join("key");
        fs::rename(&key, &elsewhere)?;
        std::os::unix::fs::symlink(&elsewhere, &key)?;
        assert!(!Cache::open(Some(&dir), 1)?.dir.starts_with(&dir));
        fs::remove_file(&key)?;
        fs::write(&key, [0; 31])?;
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600))?;
        assert!(!Cache::open(Some(&dir), 1)?.dir.starts_with(&dir));
        Ok(())
    }

    #[test]
    fn f53_a_label_with_another_directorys_mac_is_not_taken() -> Outcome {
        let home = tempfile::tempdir()?;
        let (ours, theirs) = (home.path().join("ours"), home.path().join("theirs"));
        let (ours, theirs) = (filled(&ours)?, filled(&theirs)?);
        for part in [Part::Code, Part::Label] {
            fs::copy(theirs.path(HASH, part), ours.path(HASH, part))?;
        }
        assert!(ours.get(HASH).is_none() && !ours.path(HASH, Part::Code).exists());
        Ok(())
    }

    #[test]
    fn an_open_directory_is_not_trusted() -> Outcome {
        let home = tempfile::tempdir()?;
        let dir = home.path().join("cache");
        drop(filled(&dir)?);
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755))?;
        let cache = Cache::open(Some(&dir), 1)?;
        assert!(cache.get(HASH).is_none());
        assert!(!cache.dir.starts_with(&dir));
        let link = home.path().join("link");
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o700))?;
        std::os::unix::fs::symlink(&dir, &link)?;
        assert!(!Cache::open(Some(&link), 1)?.dir.starts_with(&link));
        Ok(())
    }
}
