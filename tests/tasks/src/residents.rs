//! Residents.

use crate::hostile::endless;
use dpfw_guest::resident;
use std::hint::black_box;

/// Counts, and can be begun again with its count: the generator of a sequence of numbers.
#[derive(Debug)]
pub struct Counter {
    n: u64,
}

/// Counts.
#[resident]
impl Counter {
    /// Begins behind this number.
    pub fn new(start: u64) -> Self {
        Self { n: start }
    }

    /// The next number.
    pub fn bump(&mut self) -> u64 {
        self.n += 1;
        self.n
    }

    /// So many numbers on.
    ///
    /// # Errors
    /// If there is no such number.
    pub fn skip(&mut self, count: u64) -> Result<u64, String> {
        self.n = self.n.checked_add(count).ok_or("there is no such number")?;
        Ok(self.n)
    }

    /// The last number.
    pub fn peek(&self) -> u64 {
        self.n
    }

    /// Counts, then panics.
    pub fn bump_and_panic(&mut self) {
        let n = self.bump();
        panic!("a counter panics at {n}");
    }

    /// Counts, then traps.
    pub fn bump_and_trap(&mut self) {
        self.bump();
        crate::hostile::abort()
    }

    /// Counts, then loops for ever.
    pub fn bump_and_loop(&mut self) {
        self.bump();
        endless();
    }

    /// The count.
    pub fn save(&self) -> u64 {
        self.n
    }

    /// Goes on from there.
    pub fn load(state: u64) -> Self {
        Self { n: state }
    }
}

/// Does what it is told, right or wrong, and remembers how often; it saves nothing.
#[derive(Debug)]
pub struct Unruly {
    name: String,
    calls: u32,
    taken: Vec<Vec<u8>>,
}

#[resident]
impl Unruly {
    /// One that is well.
    pub fn new() -> Self {
        Self::named(String::new())
    }

    /// One with a name.
    pub fn named(name: String) -> Self {
        Self { name, calls: 0, taken: Vec::new() }
    }

    /// One that is not.
    ///
    /// # Errors
    /// The reason.
    pub fn refused(why: String) -> Result<Self, String> {
        Err(why)
    }

    /// Panics.
    pub fn panics(why: String) -> Self {
        panic!("{why}")
    }

    /// Never comes to its end.
    pub fn for_ever() -> Self {
        endless()
    }

    /// Its name.
    pub fn name(&self) -> String {
        self.name.clone()
    }

    /// How often it was called.
    pub fn calls(&mut self) -> u32 {
        self.calls += 1;
        self.calls
    }

    /// Panics. The test knows this line.
    pub fn boom(&mut self, why: String) {
        self.calls += 1;
        panic!("{why}!") // line 122
    }

    /// Traps.
    pub fn traps(&mut self) {
        self.calls += 1;
        crate::hostile::abort()
    }

    /// Never comes to its end.
    pub fn spin(&mut self) {
        self.calls += 1;
        endless()
    }

    /// Grows by so many MiB; gives how many it has.
    pub fn grow(&mut self, mib: u32) -> u32 {
        self.calls += 1;
        self.taken.extend((0..mib).map(|n| black_box(vec![n as u8 | 1; 1 << 20])));
        self.taken.len() as u32
    }

    /// Gives as many bytes.
    pub fn bytes(&self, len: u64) -> dpfw_guest::Bytes {
        vec![7; len as usize].into()
    }

    /// Fails with that.
    ///
    /// # Errors
    /// Always.
    pub fn fails(&mut self, why: String) -> Result<(), String> {
        self.calls += 1;
        Err(why)
    }

    /// Logs that at a level of its own.
    pub fn says(&mut self, text: String) {
        self.calls += 1;
        log::info!("{text}");
    }
}

impl Default for Unruly {
    fn default() -> Self {
        Self::new()
    }
}

/// Ends wrongly when its state is taken, or when it is begun again with it.
#[derive(Debug)]
pub struct Fragile {
    saves: bool,
    text: String,
}

#[resident]
impl Fragile {
    /// With a text that `load` takes unless it is `broken`; `save` panics unless it `saves`.
    pub fn new(text: String, saves: bool) -> Self {
        Self { saves, text }
    }

    /// The text.
    pub fn text(&self) -> String {
        self.text.clone()
    }

    /// Another text.
    pub fn write(&mut self, text: String) {
        self.text = text;
    }

    /// Panics.
    pub fn boom(&mut self) {
        panic!("as it was told");
    }

    /// The text.
    pub fn save(&self) -> String {
        assert!(self.saves, "it cannot be saved");
        self.text.clone()
    }

    /// The same.
    ///
    /// # Errors
    /// If the text is `broken`.
    pub fn load(state: String) -> Result<Self, String> {
        match state.as_str() {
            "broken" => Err("what was saved is broken".to_owned()),
            _ => Ok(Self { saves: true, text: state }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resident_is_a_plain_type() {
        let mut counter = Counter::new(6);
        assert_eq!((counter.bump(), counter.skip(3), counter.peek()), (7, Ok(10), 10));
        assert!(counter.skip(u64::MAX).is_err());
        assert_eq!(Counter::load(counter.save()).peek(), 10);
    }
}
