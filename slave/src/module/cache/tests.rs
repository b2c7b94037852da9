use super::*;
use crate::limits::Limits;
use rustix::fs::{CWD, Mode};
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
    let caches: Vec<_> = (0..3).map(|n| Cache::open(Some(&dir), n)).collect::<io::Result<_>>()?;
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
