use dpfw_guest::resident;
use std::fmt;

dpfw_guest::module!(b"\0asm\x01\0\0\0");

struct Generic<T>(T);

#[resident]
impl<'a, T> Generic<&'a T>
where
    T: Copy,
{
    pub fn new(inner: &'a T) -> Self {
        Self(inner)
    }
}

struct Shown;

#[resident]
impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("shown")
    }
}

#[resident]
struct Thing;

#[resident]
impl [u8; 4] {}

struct Signatures;

#[resident(once, name = "signatures", name = "again")]
impl Signatures {
    pub const LIMIT: u8 = { 7 };

    pub fn new((a, b): (u8, u8), text: &str) -> Result<Self, String> {
        let _ = (a, b, text);
        Ok(Self)
    }

    pub fn with(&self, n: u64) -> Self {
        let _ = n;
        Self
    }

    pub async unsafe extern "C" fn called(&mut self) {}

    pub fn finish(self) -> u8 {
        1
    }

    pub fn boxed(self: Box<Self>) {}

    pub fn generic<T>(&mut self, value: T) -> impl Sized {
        value
    }

    pub fn text(&self) -> &'static str {
        ""
    }

    pub fn other(&self, other: &Self) {
        let _ = other;
    }

    fn private<'a>(&'a self, text: &'a str) -> &'a str {
        text
    }

    pub fn free(text: &str) -> &str {
        text
    }
}

struct NoConstructor;

#[resident]
impl NoConstructor {
    fn new() -> Self {
        Self
    }

    pub fn save(&self) -> u64 {
        0
    }
}

struct Loads;

#[resident]
impl Loads {
    pub fn new() -> Self {
        Self
    }

    pub fn load(text: String) -> Self {
        let _ = text;
        Self
    }
}

struct Differs;

#[resident]
impl Differs {
    pub fn new() -> Self {
        Self
    }

    pub fn save(&self) -> u64 {
        0
    }

    pub fn load(state: i64) -> Self {
        let _ = state;
        Self
    }
}

struct Reserved;

#[resident]
impl Reserved {
    pub fn new() -> Self {
        Self
    }

    pub fn save(&mut self, path: String) -> u64 {
        let _ = path;
        0
    }

    pub fn load(&mut self, path: String, mode: u32) -> u64 {
        let _ = (path, mode);
        0
    }
}

struct Named;

#[resident(name = "no name")]
impl Named {
    pub fn new() -> Self {
        Self
    }
}

struct Twice;

#[resident]
impl Twice {
    pub fn new() -> Self {
        Self
    }

    pub fn bump(&mut self) {}

    pub fn bump(&self) {}
}

fn main() {
    let signatures = Signatures;
    let _ = (signatures.private(""), Signatures::free(""), NoConstructor::new());
    let _ = (Generic(&1), Shown, Thing, Loads, Differs, Reserved, Named, Twice);
}
