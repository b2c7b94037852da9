//! Everything that the store does, one operation after the other, against a model of a few
//! lines that walks over all entries: quota, shares, eviction, times to live, pins, images,
//! values in pieces; and what a watcher hears of it.

use super::*;
use dpfw_protocol::store::EntryKind;
use proptest::prelude::*;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

const MOST_BYTES: u64 = 4000;
const MOST_ENTRIES: u64 = 6;
const KEYS: [&str; 9] = ["a", "b", "c", "d", "e", "f", "g", "h", "a longer key than the others"];
const OWNERS: [&str; 3] = ["one", "two", "three"];

#[derive(Clone, Debug)]
enum Op {
    Put {
        key: usize,
        len: usize,
        terms: Terms,
    },
    PutIfAbsent {
        key: usize,
        len: usize,
        terms: Terms,
    },
    /// With the present version, or with another.
    Swap {
        key: usize,
        len: usize,
        terms: Terms,
        right: bool,
        /// On the terms that are there, if there are any.
        keeps: bool,
    },
    /// Another one, or the one that is under a key.
    PutImage {
        key: usize,
        bytes: u64,
        like: Option<usize>,
    },
    Get {
        key: usize,
    },
    GetRange {
        key: usize,
    },
    Image {
        key: usize,
    },
    Remove {
        key: usize,
    },
    Pin {
        key: usize,
        pinned: bool,
    },
    Sweep,
    Begin {
        key: usize,
        terms: Terms,
    },
    Append {
        len: usize,
    },
    Finish,
    GiveUp,
}

/// An operation, who does it, and how many milliseconds after the one before.
type Step = (Op, usize, u64);

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = || 0..KEYS.len();
    let len = || prop_oneof![0..100usize, 300..900usize, 0..5000usize];
    let ttl = prop_oneof![3 => Just(None), 1 => (0..200u64).prop_map(Some)];
    let terms = (any::<bool>(), ttl).prop_map(|(evictable, ttl_ms)| Terms {
        evictable,
        ttl_ms,
        durable: false,
    });
    let put = (key(), len(), terms.clone());
    let op = prop_oneof![
        6 => put.clone().prop_map(|(key, len, terms)| Op::Put { key, len, terms }),
        2 => put.clone().prop_map(|(key, len, terms)| Op::PutIfAbsent { key, len, terms }),
        4 => (put, any::<[bool; 2]>()).prop_map(|((key, len, terms), [right, keeps])| {
            Op::Swap { key, len, terms, right, keeps }
        }),
        3 => (key(), 0..3000u64, prop::option::of(key())).prop_map(|(key, bytes, like)| {
            Op::PutImage { key, bytes, like }
        }),
        3 => key().prop_map(|key| Op::Get { key }),
        1 => key().prop_map(|key| Op::GetRange { key }),
        1 => key().prop_map(|key| Op::Image { key }),
        2 => key().prop_map(|key| Op::Remove { key }),
        2 => (key(), any::<bool>()).prop_map(|(key, pinned)| Op::Pin { key, pinned }),
        1 => Just(Op::Sweep),
        1 => (key(), terms).prop_map(|(key, terms)| Op::Begin { key, terms }),
        1 => (0..1500usize).prop_map(|len| Op::Append { len }),
        1 => Just(Op::Finish),
        1 => Just(Op::GiveUp),
    ];
    prop::collection::vec((op, 0..OWNERS.len(), 1..40u64), 1..80)
}

#[derive(Clone, Debug, PartialEq)]
struct Modelled {
    kind: EntryKind,
    len: u64,
    version: Version,
    owner: usize,
    used: u64,
    evictable: bool,
    pinned: bool,
    gone_at: Option<u64>,
    cost: u64,
    /// Which image it is, if it is one: they are counted.
    image: Option<usize>,
}

impl Modelled {
    fn may_go(&self) -> bool {
        self.evictable && !self.pinned
    }
}

/// The entries, and the images with their keys in the order in which they came.
type Entries = BTreeMap<&'static str, Modelled>;

/// The model. Time is in milliseconds.
#[derive(Clone, Default)]
struct Model {
    entries: Entries,
    /// What each image costs, and under which keys it is, in the order in which it came there.
    images: Vec<(u64, Vec<&'static str>)>,
    now: u64,
    evicted: u64,
    /// The value that is being written in pieces, one at a time.
    draft: Option<(u32, usize, Terms, u64)>,
}

/// What is to be written: under which key, if it is an entry, what it costs by itself, and which
/// image it is.
#[derive(Clone, Copy)]
struct Written {
    key: Option<&'static str>,
    own: u64,
    image: Option<usize>,
}

impl Model {
    fn expire(&mut self) {
        let now = self.now;
        self.entries.retain(|_, entry| entry.gone_at.is_none_or(|at| at > now));
    }

    fn used(&self) -> u64 {
        let draft = self.draft.as_ref().map_or(0, |draft| draft.3);
        let there = self.images.iter().filter(|(_, keys)| !keys.is_empty());
        let images = there.map(|(bytes, _)| bytes).sum::<u64>();
        self.entries.values().map(|entry| entry.cost).sum::<u64>() + images + draft
    }

    fn remove(&mut self, name: &str) -> bool {
        self.images.iter_mut().for_each(|(_, keys)| keys.retain(|key| *key != name));
        self.entries.remove(name).is_some()
    }

    /// An image is used under all of its keys.
    fn touch(&mut self, name: &'static str) {
        let image = self.entries.get(name).and_then(|entry| entry.image);
        let keys = image.map_or_else(|| vec![name], |image| self.images[image].1.clone());
        for key in keys {
            if let Some(entry) = self.entries.get_mut(key) {
                entry.used = self.now;
            }
        }
    }

    /// What a write costs, and what goes with what it replaces.
    fn costs(&self, written: Written) -> (u64, Option<u64>) {
        let Written { key, own, image } = written;
        let first = image.filter(|image| self.images[*image].1.is_empty());
        let old = key.and_then(|key| self.entries.get(key)).map(|entry| {
            let only = entry.image.filter(|image| self.images[*image].1.len() == 1);
            let goes = only.filter(|only| Some(*only) != image);
            entry.cost + goes.map_or(0, |image| self.images[image].0)
        });
        let old = if key.is_none() { Some(0) } else { old };
        (own + first.map_or(0, |image| self.images[image].0), old)
    }

    fn fits(&self, written: Written) -> bool {
        let (new, old) = self.costs(written);
        self.used() - old.unwrap_or(0) + new <= MOST_BYTES
            && (old.is_some() || (self.entries.len() as u64) < MOST_ENTRIES)
    }

    fn going(&self, written: Written) -> Vec<&'static str> {
        let goes = self.entries.iter().filter(|(name, entry)| {
            let is_its = written.image.is_some() && entry.image == written.image;
            entry.may_go() && Some(**name) != written.key && !is_its
        });
        goes.map(|(name, _)| *name).collect()
    }

    /// What somebody holds, in bytes and in entries.
    fn held(&self, who: usize) -> (u64, u64) {
        let own = self.entries.values().filter(|e| e.owner == who);
        let (bytes, count) = own.fold((0, 0), |(b, n), e| (b + e.cost, n + 1));
        let images = self.images.iter().filter(|(_, keys)| {
            let entries = || keys.iter().map(|key| &self.entries[key]);
            let payer = entries().find(|entry| !entry.may_go()).or(entries().next());
            payer.is_some_and(|entry| entry.owner == who)
        });
        (bytes + images.map(|(bytes, _)| bytes).sum::<u64>(), count)
    }

    /// Evicts what has to go, or says what there is too little of.
    fn make_room(&mut self, written: Written, owner: usize) -> Result<(), Limit> {
        let mut without = self.clone();
        self.going(written).into_iter().for_each(|name| assert!(without.remove(name)));
        if !without.fits(written) && !self.fits(written) {
            let (_, old) = self.costs(written);
            let full = old.is_none() && self.entries.len() as u64 >= MOST_ENTRIES;
            return Err(if full { Limit::Entries } else { Limit::Quota });
        }
        while !self.fits(written) {
            let (new, old) = self.costs(written);
            let owners: BTreeSet<_> =
                self.entries.values().map(|e| e.owner).chain([owner]).collect();
            let is_over = |who: usize| {
                let (bytes, count) = self.held(who);
                let more = if who == owner { new.saturating_sub(old.unwrap_or(0)) } else { 0 };
                let one = u64::from(who == owner && old.is_none());
                let principals = owners.len() as u64;
                (bytes + more) * principals > MOST_BYTES
                    || (count + one) * principals > MOST_ENTRIES
            };
            let name = self.going(written).into_iter().max_by_key(|name| {
                let entry = &self.entries[name];
                (is_over(entry.owner), Reverse((entry.used, entry.version)))
            });
            let name = name.expect("what may go is enough");
            let keys = self.entries[name].image.map(|image| self.images[image].1.clone());
            let whole = keys.filter(|keys| keys.iter().all(|key| self.entries[key].may_go()));
            for key in whole.unwrap_or_else(|| vec![name]) {
                if Some(key) != written.key {
                    assert!(self.remove(key));
                    self.evicted += 1;
                }
            }
        }
        Ok(())
    }

    fn write(
        &mut self,
        key: usize,
        owner: usize,
        kind: EntryKind,
        len: u64,
        (terms, keeps, image): (Terms, bool, Option<usize>),
        may: impl Fn(Version) -> bool,
    ) -> Result<bool, &'static str> {
        let name = KEYS[key];
        let present = self.entries.get(name).cloned();
        if present.as_ref().is_some_and(|present| present.kind != kind) {
            return Err("kind");
        }
        if !may(present.as_ref().map_or(0, |present| present.version)) {
            return Ok(false);
        }
        let gone_at = terms.ttl_ms.map(|ttl| self.now + ttl);
        let own = (terms.evictable || gone_at.is_some(), gone_at);
        let kept = present.as_ref().filter(|_| keeps).map(|old| (old.evictable, old.gone_at));
        let (evictable, gone_at) = kept.unwrap_or(own);
        let copies = 2 + u64::from(evictable) + u64::from(gone_at.is_some());
        let cost = 128 + copies * name.len() as u64 + if image.is_some() { 0 } else { len };
        let written = Written { key: Some(name), own: cost, image };
        let (new, old) = self.costs(written);
        if old.is_none_or(|old| new > old) {
            self.make_room(written, owner).map_err(|limit| match limit {
                Limit::Entries => "entries",
                _ => "quota",
            })?;
        }
        let came = image.filter(|image| self.images[*image].1.contains(&name)).is_none();
        if came {
            self.images.iter_mut().for_each(|(_, keys)| keys.retain(|key| *key != name));
            image.into_iter().for_each(|image| self.images[image].1.push(name));
        }
        let entry = Modelled {
            kind,
            len,
            version: 0,
            owner,
            used: self.now,
            evictable,
            pinned: present.is_some_and(|present| present.pinned),
            gone_at,
            cost,
            image,
        };
        self.entries.insert(name, entry);
        self.touch(name);
        Ok(true)
    }
}

struct Both {
    store: Fixture,
    drafts: Drafts,
    model: Model,
    /// Those that the model counts.
    images: Vec<(Held, Arc<Shared>)>,
    watching: Watching,
    /// What a watcher believes to be there.
    heard: BTreeMap<String, Version>,
    last_heard: BTreeMap<String, Version>,
    last: Version,
}

fn outcome(answer: &Result<Answer, Cause>) -> Result<bool, &'static str> {
    match answer {
        Ok(answer) => Ok(answer.hit),
        Err(Cause::WrongKind { .. }) => Err("kind"),
        Err(Cause::Limit { limit: Limit::Entries, .. }) => Err("entries"),
        Err(Cause::Limit { limit: Limit::Quota, .. }) => Err("quota"),
        Err(_) => Err("another"),
    }
}

impl Both {
    fn new() -> Self {
        let limits =
            Limits { store_bytes: MOST_BYTES, store_entries: MOST_ENTRIES, ..Limits::default() };
        let store = Fixture::new(limits);
        let watching = store.store.watch(&store.namespace, String::new(), false, Box::new(|| {}));
        let (model, drafts) = (Model::default(), Drafts::default());
        let (heard, last_heard) = Default::default();
        let images = Vec::new();
        Self { store, drafts, model, images, watching, heard, last_heard, last: 0 }
    }

    /// The same write to both; the version is the store's to choose, but a new one.
    fn write(
        &mut self,
        (key, owner): (usize, usize),
        kind: EntryKind,
        len: u64,
        terms: (Terms, bool, Option<usize>),
        real: Result<Answer, Cause>,
        may: impl Fn(Version) -> bool,
    ) {
        let expected = self.model.write(key, owner, kind, len, terms, may);
        assert_eq!(outcome(&real), expected);
        if expected == Ok(true) {
            let version = real.expect("as expected").version;
            assert!(version > self.last, "a version was used again");
            self.last = version;
            self.model.entries.get_mut(KEYS[key]).expect("written").version = version;
        }
    }

    fn apply(&self, owner: usize, terms: Terms, op: StoreOp, len: usize) -> Result<Answer, Cause> {
        let (value, owner) = (Bytes::from(vec![7; len]), principal(OWNERS[owner]));
        self.store.store.apply_on(terms, &self.store.namespace, &owner, op, value, &|| true)
    }

    fn step(&mut self, (op, owner, passes): &Step) {
        self.store.store.clock.pass(*passes);
        self.model.now += passes;
        self.model.expire();
        let owner = *owner;
        let name = |key: usize| super::key(KEYS[key]);
        let value = EntryKind::Value;
        match op.clone() {
            Op::Put { key, len, terms } => {
                let real = self.apply(owner, terms, StoreOp::Put { key: name(key) }, len);
                self.write((key, owner), value, len as u64, (terms, false, None), real, |_| true);
            }
            Op::PutIfAbsent { key, len, terms } => {
                let real = self.apply(owner, terms, StoreOp::PutIfAbsent { key: name(key) }, len);
                self.write((key, owner), value, len as u64, (terms, false, None), real, |v| v == 0);
            }
            Op::Swap { key, len, terms, right, keeps } => {
                let present = self.model.entries.get(KEYS[key]).map_or(0, |e| e.version);
                let expected = if right { present } else { present + 1 };
                let op = match keeps {
                    true => StoreOp::Update { key: name(key), expected },
                    false => StoreOp::CompareAndSwap { key: name(key), expected },
                };
                let real = self.apply(owner, terms, op, len);
                let on = (terms, keeps, None);
                self.write((key, owner), value, len as u64, on, real, |v| v == expected);
            }
            Op::PutImage { key, bytes, like } => {
                let (full, by) = (self.store.full(KEYS[key]), principal(OWNERS[owner]));
                let there = like.and_then(|like| self.model.entries.get(KEYS[like])?.image);
                let image = there.unwrap_or_else(|| {
                    self.images.push((Arc::new(bytes), Shared::new(bytes)));
                    self.model.images.push((bytes, Vec::new()));
                    self.images.len() - 1
                });
                let (bytes, held) = (self.model.images[image].0, self.images[image].clone());
                let real = self.store.store.put_image(&full, &by, super::images::info(bytes), held);
                let real = real.map(|version| Answer { hit: true, version, ..Answer::default() });
                let on = (MAY_GO, false, Some(image));
                self.write((key, owner), EntryKind::Image, bytes, on, real, |_| true);
            }
            Op::Get { key } => self.read(key, StoreOp::Get { key: name(key) }, u64::MAX),
            Op::GetRange { key } => {
                self.read(key, StoreOp::GetRange { key: name(key), offset: 0, len: 10 }, 10);
            }
            Op::Image { key } => {
                let found = self.store.store.image(&self.store.full(KEYS[key]));
                let entry = self.model.entries.get(KEYS[key]);
                let entry = entry.filter(|entry| entry.kind == EntryKind::Image);
                let bytes = found.map(|held| *held.downcast::<u64>().expect("what was put"));
                assert_eq!(bytes, entry.map(|entry| entry.len));
                if bytes.is_some() {
                    self.model.touch(KEYS[key]);
                }
            }
            Op::Remove { key } => {
                let real = self.apply(owner, STAYS, StoreOp::Remove { key: name(key) }, 0);
                assert_eq!(outcome(&real), Ok(self.model.remove(KEYS[key])));
            }
            Op::Pin { key, pinned } => {
                let real = self.apply(owner, STAYS, StoreOp::Pin { key: name(key), pinned }, 0);
                let entry = self.model.entries.get_mut(KEYS[key]);
                assert_eq!(outcome(&real), Ok(entry.is_some()));
                if let Some(entry) = entry {
                    entry.pinned = pinned;
                }
            }
            Op::Sweep => drop(self.store.store.sweep()),
            Op::Begin { key, terms } if self.model.draft.is_none() => {
                let full = self.store.full(KEYS[key]);
                let number = self.drafts.begin(&self.store.store, full, terms).expect("room");
                self.model.draft = Some((number, key, terms, 0));
            }
            Op::Append { len } => self.append(owner, len as u64),
            Op::Finish => self.finish(owner),
            Op::GiveUp => {
                if let Some((number, ..)) = self.model.draft.take() {
                    self.drafts.give_up(number).expect("it is there");
                }
            }
            Op::Begin { .. } => {}
        }
        self.check();
    }

    fn read(&mut self, key: usize, op: StoreOp, most: u64) {
        let answer = self.apply(0, STAYS, op, 0);
        match self.model.entries.get_mut(KEYS[key]) {
            None => assert_eq!(answer, Ok(Answer::default())),
            Some(entry) if entry.kind == EntryKind::Image => {
                assert_eq!(outcome(&answer), Err("kind"));
            }
            Some(entry) => {
                let answer = answer.expect("it is there");
                let read = (answer.hit, answer.version, answer.value.len() as u64);
                assert_eq!(read, (true, entry.version, entry.len.min(most)));
                entry.used = self.model.now;
            }
        }
    }

    fn append(&mut self, owner: usize, len: u64) {
        let Some((number, key, terms, so_far)) = self.model.draft else {
            return;
        };
        let by = principal(OWNERS[owner]);
        let real = self.drafts.reserve(&self.store.store, &by, number, len, &|| true);
        let written = Written { key: None, own: len, image: None };
        let expected = match self.model.fits(written) {
            true => Ok(()),
            false => self.model.make_room(written, owner),
        };
        assert_eq!(real.is_ok(), expected.is_ok());
        if real.is_ok() {
            self.drafts.append(number, &vec![7; len as usize]);
            self.model.draft = Some((number, key, terms, so_far + len));
        }
    }

    fn finish(&mut self, owner: usize) {
        let Some((number, key, terms, len)) = self.model.draft.take() else {
            return;
        };
        let by = principal(OWNERS[owner]);
        let real = self.drafts.finish(&self.store.store, &by, number, &|| true);
        self.write((key, owner), EntryKind::Value, len, (terms, false, None), real, |_| true);
    }

    /// What the store shows, and what a watcher heard, is what the model has.
    fn check(&mut self) {
        // A time to live may be none at all.
        self.model.expire();
        let listed = self.store.listed().into_iter().map(|entry| {
            let owner = OWNERS.iter().position(|owner| *owner == entry.owner.0.as_str());
            let place = KEYS.iter().position(|key| *key == entry.key.as_str());
            (place, owner, entry)
        });
        let now = self.model.now;
        let shown: Vec<_> = listed
            .map(|(key, owner, e)| {
                (key, owner, e.kind, e.bytes, e.version, e.pinned, e.evictable, e.ttl_ms, e.idle_s)
            })
            .collect();
        let expected = self.model.entries.iter().map(|(name, e)| {
            let key = KEYS.iter().position(|key| key == name);
            let (left, idle) = (e.gone_at.map(|at| at - now), (now - e.used) / 1000);
            (key, Some(e.owner), e.kind, e.len, e.version, e.pinned, e.evictable, left, idle)
        });
        let mut expected: Vec<_> = expected.collect();
        expected.sort_by_key(|entry| entry.0.map(|key| KEYS[key]));
        assert_eq!(shown, expected);
        let size = (self.model.entries.len() as u64, self.model.used());
        assert_eq!(self.store.store.size(), size);
        assert_eq!(self.store.store.evicted(), self.model.evicted);
        self.hear();
        let there = self.model.entries.iter().map(|(k, e)| ((*k).to_owned(), e.version));
        assert_eq!(self.heard, there.collect::<BTreeMap<_, _>>());
    }

    fn hear(&mut self) {
        loop {
            let (missed, changes) = self.store.store.watched(&self.watching, |_| true);
            assert_eq!(missed, 0);
            if changes.is_empty() {
                return;
            }
            for change in changes {
                let key = change.key.to_string();
                let before = self.last_heard.insert(key.clone(), change.version);
                assert!(before < Some(change.version), "{key} out of order");
                match change.what.is_there() {
                    true => drop(self.heard.insert(key, change.version)),
                    false => assert!(self.heard.remove(&key).is_some(), "{key} ended twice"),
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_store_does_what_the_model_does(steps in steps()) {
        let mut both = Both::new();
        steps.iter().for_each(|step| both.step(step));
    }
}
