//! What images on disk are called, beside their code.
//!
//! Owns: a page for each image that has a name, under a keyed hash as its label is. Does not: know
//! what is in the store; who writes here says what is to be there. Invariants: a page is as true
//! as a label, or is deleted; a name is a slave's, and no other's that keeps its code here; a page
//! has [`MOST_NAMES`] names at most, those that were given last.

use super::{Cache, Part};
use crate::module::code::CodeId;
use crate::scarce;
use dpfw_protocol::hello::Namespace;
use dpfw_protocol::store::{ImageInfo, Key, Principal};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

/// Names of one image that are kept. Each is a text of 1 KiB at most.
const MOST_NAMES: usize = 64;

/// Bytes of a page: what that many names take, with their owners, and the rest of it.
const MOST_PAGE: u64 = 256 << 10;

/// Images whose names are read when a slave starts, those that were used last: each is a file or
/// two to look at, so that a start takes some tens of milliseconds more at most.
const MOST_PAGES: usize = 1024;

/// Whose names are kept, and that they are.
#[derive(Debug)]
pub(super) struct Names {
    slave: String,
    /// Held while a page is read and written again.
    writing: Mutex<()>,
}

/// What an image is called by a slave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Named {
    pub(crate) key: Key,
    pub(crate) owner: Principal,
    /// Whether a master chose the key, or the slave.
    pub(crate) is_chosen: bool,
}

/// What stands beside an image's code.
#[derive(Debug, Serialize, Deserialize)]
struct Page {
    image: ImageInfo,
    namespace: Namespace,
    /// By the slaves that call it so.
    names: Vec<(String, Named)>,
}

/// An image that was called something when its slave ended.
#[derive(Debug)]
pub(crate) struct Again {
    pub(crate) code: CodeId,
    pub(crate) image: ImageInfo,
    pub(crate) namespace: Namespace,
    pub(crate) names: Vec<Named>,
}

impl Cache {
    /// Keeps the names that this slave gives its images; nobody's unless told. Where nothing is
    /// kept, names are not.
    pub(crate) fn keep_names_of(mut self, slave: String) -> Self {
        if self.temporary.is_none() {
            self.names = Some(Names { slave, writing: Mutex::default() });
        }
        self
    }

    /// Whether there are names to be written down.
    pub(crate) fn keeps_names(&self) -> bool {
        self.names.is_some()
    }

    /// Writes down that an image is called so, or that it is called something no more; which of
    /// it is found out when nobody else writes.
    pub(crate) fn rename(
        &self,
        code: CodeId,
        key: &Key,
        now: impl FnOnce() -> Option<(ImageInfo, Namespace, Named)>,
    ) {
        let Some(Names { slave, writing }) = &self.names else { return };
        let _writing = lock(writing);
        let page = self.page(code);
        let written = page.and_then(|page| match (page, now()) {
            (None, None) => Ok(()),
            (Some(mut page), None) => {
                page.names.retain(|(of, named)| of != slave || named.key != *key);
                self.write_page(code, &page)
            }
            (page, Some((image, namespace, named))) => {
                let mut names = page.map(|page| page.names).unwrap_or_default();
                names.retain(|(of, named)| of != slave || named.key != *key);
                names.push((slave.clone(), named));
                let beyond = names.len().saturating_sub(MOST_NAMES);
                names.drain(..beyond);
                self.write_page(code, &Page { image, namespace, names })
            }
        });
        if let Err(error) = written {
            tracing::warn!(%code, %error, "what an image is called is not kept");
        }
    }

    /// Whether any slave calls an image something; one is taken to if that cannot be read now.
    pub(crate) fn is_named(&self, code: CodeId) -> bool {
        self.page(code).map_or(true, |page| page.is_some())
    }

    /// The images that this slave calls something, those first that were used last.
    pub(crate) fn again(&self) -> Vec<Again> {
        let Some(Names { slave, .. }) = &self.names else { return Vec::new() };
        let mut found = self.pages();
        found.sort_unstable_by_key(|(_, used)| std::cmp::Reverse(*used));
        let again = found.into_iter().take(MOST_PAGES).filter_map(|(code, _)| {
            let Page { image, namespace, names } = self.page(code).ok()??;
            let own = names.into_iter().filter(|(of, _)| of == slave).map(|(_, named)| named);
            let names: Vec<_> = own.collect();
            // It is of the code that it stands beside, or nothing is of it.
            let is_its = code == CodeId::built(image.id, &namespace);
            (is_its && !names.is_empty()).then_some(Again { code, image, namespace, names })
        });
        again.collect()
    }

    /// The images that have a page, and when each was used. What is called something and is not
    /// there any more is forgotten.
    fn pages(&self) -> Vec<(CodeId, SystemTime)> {
        let entries = fs::read_dir(&self.dir).into_iter().flatten().filter_map(Result::ok);
        let mut pages = Vec::new();
        for path in entries.map(|entry| entry.path()).filter(|path| is_page(path)) {
            let stem = path.file_stem().and_then(|name| name.to_str());
            let Some(code) = stem.and_then(CodeId::of_image_file) else { continue };
            let used = fs::metadata(self.path(code, Part::Label)).and_then(|it| it.modified());
            match used {
                Ok(used) if self.path(code, Part::Code).exists() => pages.push((code, used)),
                _ => drop(fs::remove_file(path)),
            }
        }
        pages
    }

    /// What an image is called, if anything.
    ///
    /// # Errors
    /// An I/O error if that cannot be read now.
    fn page(&self, code: CodeId) -> io::Result<Option<Page>> {
        match self.read_signed(code, Part::Names, MOST_PAGE) {
            Ok((_, page)) => Ok(Some(page)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) if scarce::is_lack(&error) => Err(error),
            Err(error) => {
                tracing::warn!(%code, %error, "names of an image are not trusted, and deleted");
                // What cannot be removed is found out again.
                let _ = fs::remove_file(self.path(code, Part::Names));
                Ok(None)
            }
        }
    }

    fn write_page(&self, code: CodeId, page: &Page) -> io::Result<()> {
        if page.names.is_empty() {
            return fs::remove_file(self.path(code, Part::Names));
        }
        let body = rmp_serde::to_vec(page).map_err(io::Error::other)?;
        if body.len() as u64 + 32 > MOST_PAGE {
            return Err(io::Error::other("they are too long"));
        }
        self.write_signed(code, Part::Names, &body)
    }
}

fn is_page(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == Part::Names.extension())
}

fn lock(writing: &Mutex<()>) -> MutexGuard<'_, ()> {
    writing.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::super::{Label, Part};
    use super::*;
    use crate::limits::Limits;
    use crate::module::facts::Facts;
    use dpfw_protocol::ids::{ImageId, ModuleHash, PeerId};
    use dpfw_protocol::message::Origin;
    use std::path::Path;

    type Outcome = Result<(), Box<dyn std::error::Error>>;

    fn image(id: u8) -> ImageInfo {
        ImageInfo {
            id: ImageId::from_bytes([id; 32]),
            module: ModuleHash::from_bytes([2; 32]),
            init: "build".into(),
            hash: ModuleHash::from_bytes([3; 32]),
            snapshot: 5,
            memory: 6,
            origin: Origin::Built,
            init_us: 7,
        }
    }

    fn code(id: u8) -> CodeId {
        CodeId::built(ImageId::from_bytes([id; 32]), &Namespace::default())
    }

    fn key(text: &str) -> Key {
        Key::new(text).expect("short")
    }

    fn named(text: &str) -> Named {
        let owner = Principal(PeerId::new("owner").expect("printable"));
        Named { key: key(text), owner, is_chosen: true }
    }

    fn open(dir: &Path, slave: &str) -> io::Result<Cache> {
        Ok(Cache::open(Some(dir), 1)?.keep_names_of(slave.into()))
    }

    /// The same with the code of these images.
    fn filled(dir: &Path, slave: &str, ids: &[u8]) -> Result<Cache, Box<dyn std::error::Error>> {
        let cache = open(dir, slave)?;
        for id in ids {
            let facts = Facts::of(&wat::parse_str("(module)")?, &Limits::default())?;
            cache.put(code(*id), Label::new(facts, true, None), b"code", None)?;
        }
        Ok(cache)
    }

    fn add(cache: &Cache, id: u8, text: &str) {
        let now = || Some((image(id), Namespace::default(), named(text)));
        cache.rename(code(id), &key(text), now);
    }

    fn again(cache: &Cache) -> Vec<(CodeId, Vec<String>)> {
        let texts = |names: Vec<Named>| names.iter().map(|named| named.key.to_string()).collect();
        cache.again().into_iter().map(|it| (it.code, texts(it.names))).collect()
    }

    #[test]
    fn names_are_there_again_in_the_order_of_their_images_use_until_they_are_taken_away() -> Outcome
    {
        let home = tempfile::tempdir()?;
        let dir = home.path().join("cache");
        let cache = filled(&dir, "s1", &[1, 2])?;
        add(&cache, 1, "one");
        add(&cache, 2, "two");
        add(&cache, 2, "second");
        add(&cache, 2, "two");
        let used = |id, secs| -> io::Result<()> {
            let label = fs::File::options().append(true).open(cache.path(code(id), Part::Label))?;
            label.set_modified(SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(secs))
        };
        used(1, 2)?;
        used(2, 1)?;
        let there = open(&dir, "s1")?;
        let two = vec!["second".to_owned(), "two".to_owned()];
        assert_eq!(again(&there), [(code(1), vec!["one".to_owned()]), (code(2), two)]);
        let first = there.again().swap_remove(0);
        assert_eq!((first.image, first.names), (image(1), vec![named("one")]));
        there.rename(code(1), &key("one"), || None);
        there.rename(code(2), &key("two"), || None);
        assert_eq!(again(&open(&dir, "s1")?), [(code(2), vec!["second".to_owned()])]);
        assert!(!there.path(code(1), Part::Names).exists());
        Ok(())
    }

    #[test]
    fn each_slave_has_the_names_that_it_gave() -> Outcome {
        let home = tempfile::tempdir()?;
        let dir = home.path().join("cache");
        let (one, two) = (filled(&dir, "s1", &[1])?, open(&dir, "s2")?);
        add(&one, 1, "same");
        add(&two, 1, "same");
        one.rename(code(1), &key("same"), || None);
        assert_eq!(again(&one), []);
        assert_eq!(again(&two), [(code(1), vec!["same".to_owned()])]);
        assert!(one.is_named(code(1)), "by the other");
        assert_eq!(again(&Cache::open(Some(&dir), 1)?), [], "whose names are not kept");
        Ok(())
    }

    #[test]
    fn the_names_of_an_image_are_bounded_and_the_last_are_kept() -> Outcome {
        let home = tempfile::tempdir()?;
        let cache = filled(&home.path().join("cache"), "s1", &[1])?;
        let long = "x".repeat(dpfw_protocol::limits::MAX_KEY - 3);
        (0..MOST_NAMES + 2).for_each(|n| add(&cache, 1, &format!("{n:03}{long}")));
        let names = cache.again().swap_remove(0).names;
        assert_eq!(names.len(), MOST_NAMES);
        assert!(names[0].key.as_str().starts_with("002"));
        Ok(())
    }

    #[test]
    fn names_that_were_changed_or_moved_or_are_of_nothing_are_deleted() -> Outcome {
        let home = tempfile::tempdir()?;
        let dir = home.path().join("cache");
        let cache = filled(&dir, "s1", &[1, 2, 3])?;
        let path = |id, part| cache.path(code(id), part);
        (1..=3).for_each(|id| add(&cache, id, "name"));
        let mut bytes = fs::read(path(1, Part::Names))?;
        *bytes.last_mut().ok_or("empty")? ^= 1;
        fs::write(path(1, Part::Names), bytes)?;
        fs::copy(path(3, Part::Names), path(2, Part::Names))?;
        fs::remove_file(path(3, Part::Code))?;
        assert_eq!(again(&cache), []);
        assert!((1..=3).all(|id| !path(id, Part::Names).exists()));
        // What is no name of an image's file is passed over.
        fs::write(cache.dir.join("image-00.names"), b"")?;
        assert_eq!(again(&cache), []);
        Ok(())
    }
}
