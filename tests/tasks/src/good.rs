//! Tasks that do what they are asked for.

use dpfw_guest::{Bytes, Shape, task};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime};

/// Adds two numbers.
#[task(effect_free)]
pub fn add(a: i64, b: i64) -> i64 {
    a.wrapping_add(b)
}

/// A variant of each form that serde knows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Shape)]
pub enum Form {
    /// Nothing.
    Unit,
    /// One value.
    One(i8),
    /// Two values.
    Two(u16, String),
    /// Named values.
    Named {
        /// A number.
        x: f32,
        /// Perhaps another form.
        inner: Option<Box<Form>>,
    },
}

/// A value of each kind that serde knows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Shape)]
pub struct Everything {
    /// The ends of the range.
    pub unsigned: (u8, u16, u32, u64),
    /// The ends of the range.
    pub signed: (i8, i16, i32, i64),
    /// Floats.
    pub floats: (f32, f64),
    /// A truth.
    pub truth: bool,
    /// A character beyond ASCII.
    pub character: char,
    /// A text beyond ASCII.
    pub text: String,
    /// There, and not there.
    pub perhaps: (Option<i64>, Option<String>),
    /// Lists in a list.
    pub lists: Vec<Vec<i32>>,
    /// A map.
    pub map: BTreeMap<String, u64>,
    /// A map whose keys are no texts.
    pub numbered: BTreeMap<i64, Form>,
    /// Forms.
    pub forms: Vec<Form>,
    /// Raw bytes.
    pub bytes: Bytes,
    /// Nothing.
    pub unit: (),
}

/// Gives back what it got.
#[task(effect_free)]
pub fn everything(value: Everything) -> Everything {
    value
}

/// Takes an argument of each kind and says what it saw.
#[task(effect_free)]
#[expect(clippy::too_many_arguments, reason = "that is the point")]
pub fn many(
    unsigned: u64,
    signed: i64,
    float: f64,
    truth: bool,
    text: String,
    perhaps: Option<u8>,
    list: Vec<(u8, String)>,
    map: HashMap<String, i32>,
    form: Form,
    bytes: Bytes,
) -> String {
    let map: BTreeMap<_, _> = map.into_iter().collect();
    format!(
        "{unsigned} {signed} {float:?} {truth} {text:?} {perhaps:?} {list:?} {map:?} {form:?} {}",
        bytes.len()
    )
}

/// Takes nothing and gives nothing.
#[task]
pub fn nothing() {}

/// Gives bytes back as they are.
#[task(effect_free)]
pub fn echo(bytes: Bytes) -> Bytes {
    bytes
}

/// Gives so many bytes, each its place modulo 251.
#[task(effect_free)]
pub fn big(len: u64) -> Bytes {
    (0..len).map(|i| (i % 251) as u8).collect()
}

/// Takes so many zeros, writes something else over them, and gives how many were none.
#[task(effect_free)]
pub fn soil(len: u64) -> u64 {
    let mut bytes = vec![0u8; len as usize];
    let soiled = bytes.iter().filter(|byte| **byte != 0).count() as u64;
    bytes.fill(0xa5);
    soiled + std::hint::black_box(&bytes).iter().filter(|byte| **byte != 0xa5).count() as u64
}

/// Why a task fails that is told to.
#[derive(Debug)]
pub struct Refusal(String);

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "refused: {}", self.0)
    }
}

/// Fails with a text, or gives its length.
///
/// # Errors
/// [`Refusal`] if the text is `no`.
#[task]
pub fn checked(text: String) -> Result<usize, Refusal> {
    if text == "no" { Err(Refusal(text)) } else { Ok(text.len()) }
}

static COUNT: AtomicU32 = AtomicU32::new(0);

/// How often a task has counted in this memory: once, if the sandbox is fresh.
#[task]
pub fn count() -> u32 {
    COUNT.fetch_add(1, Ordering::Relaxed) + 1
}

/// The same for an input of a map; panics at `bad`.
#[task]
pub fn count_but(n: u64, bad: u64) -> (u64, u32) {
    let count = COUNT.fetch_add(1, Ordering::Relaxed) + 1;
    assert!(n != bad, "{n} is bad");
    (n, count)
}

/// A number that this task's randomness gives.
#[task]
pub fn random() -> u64 {
    RandomState::new().hash_one(0)
}

/// Seconds of the wall clock, and whether the monotonic one goes on.
#[task]
pub fn clocks() -> (u64, bool) {
    let start = Instant::now();
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    std::thread::sleep(Duration::from_millis(1));
    (since.map_or(0, |d| d.as_secs()), start.elapsed() >= Duration::from_millis(1))
}

/// Holds its slot for so long, and gives a value.
#[task(effect_free)]
pub fn nap(millis: u64, value: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(millis));
    value
}

/// Logs a text at each level, and prints it to both outputs.
#[task]
pub fn say(text: String) {
    log::error!("{text} error");
    log::warn!("{text} warn");
    log::info!("{text} info");
    log::debug!("{text} debug");
    println!("{text} stdout");
    eprint!("{text} stderr, not ended");
}

/// Logs a text so many times.
#[task]
pub fn flood(text: String, times: u32) {
    for n in 0..times {
        log::info!("{text} {n}");
    }
}

/// What is in the environment and in the file system: nothing.
#[task]
pub fn outside() -> (usize, usize, bool, bool) {
    let vars = std::env::vars().count();
    let args = std::env::args().count();
    let file = std::fs::read("/etc/passwd").is_ok();
    let written = std::fs::write("/tmp/dpfw-test", "x").is_ok();
    (vars, args, file, written)
}
