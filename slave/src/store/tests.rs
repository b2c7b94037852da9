use super::*;
use dpfw_protocol::error::Limit;
use dpfw_protocol::ids::PeerId;
use dpfw_protocol::store::Key;

mod drafts;
pub(super) mod images;
mod linear;
mod model;
mod quota;
mod times;
mod watches;

pub(super) struct Fixture {
    store: Store,
    namespace: Namespace,
    owner: Principal,
}

impl Fixture {
    fn new(limits: Limits) -> Self {
        let store = Store::with_clock(&limits, Clock::by_hand());
        Self { store, namespace: Namespace::default(), owner: principal("m") }
    }

    /// Does it for somebody, a millisecond after what was done before.
    fn apply_on(
        &self,
        terms: Terms,
        owner: &str,
        op: StoreOp,
        value: &[u8],
    ) -> Result<Answer, Cause> {
        self.store.clock.pass(1);
        let value = Bytes::copy_from_slice(value);
        self.store.apply_on(terms, &self.namespace, &principal(owner), op, value, &|| true)
    }

    fn put_on(&self, terms: Terms, owner: &str, name: &str, len: usize) -> Result<Answer, Cause> {
        self.apply_on(terms, owner, StoreOp::Put { key: key(name) }, &vec![7; len])
    }

    fn pin(&self, name: &str, pinned: bool) -> bool {
        let op = StoreOp::Pin { key: key(name), pinned };
        self.apply_on(STAYS, "m", op, b"").expect("done").hit
    }

    fn full(&self, name: &str) -> FullKey {
        FullKey { namespace: self.namespace.clone(), key: key(name) }
    }

    fn listed(&self) -> Vec<EntryInfo> {
        let op = StoreOp::List { prefix: String::new(), after: None, limit: u32::MAX };
        self.apply(op, "").expect("reads").entries
    }

    fn keys(&self) -> Vec<String> {
        self.listed().into_iter().map(|entry| entry.key.to_string()).collect()
    }

    fn apply(&self, op: StoreOp, value: &'static str) -> Result<Answer, Cause> {
        let value = Bytes::from_static(value.as_bytes());
        self.store.apply(&self.namespace, &self.owner, op, value)
    }

    fn get(&self, name: &str) -> Option<String> {
        let answer = self.apply(StoreOp::Get { key: key(name) }, "").expect("reads");
        answer.hit.then(|| String::from_utf8_lossy(&answer.value).into_owned())
    }
}

const STAYS: Terms = Terms { evictable: false, ttl_ms: None, durable: false };
const MAY_GO: Terms = Terms { evictable: true, ..STAYS };

fn principal(name: &str) -> Principal {
    Principal(PeerId::new(name).expect("printable"))
}

fn key(name: &str) -> Key {
    Key::new(name).expect("short")
}

#[test]
fn a_value_is_put_read_and_removed() {
    let store = Fixture::new(Limits::default());
    assert_eq!(store.get("a"), None);
    assert!(store.apply(StoreOp::Put { key: key("a") }, "1").expect("fits").hit);
    assert_eq!(store.get("a").as_deref(), Some("1"));
    assert!(store.apply(StoreOp::Remove { key: key("a") }, "").expect("done").hit);
    assert!(!store.apply(StoreOp::Remove { key: key("a") }, "").expect("done").hit);
    assert_eq!(store.get("a"), None);
    assert_eq!(store.store.size(), (0, 0));
}

#[test]
fn the_first_of_many_puts_if_absent() {
    let store = Fixture::new(Limits::default());
    let first = store.apply(StoreOp::PutIfAbsent { key: key("a") }, "1").expect("fits");
    let second = store.apply(StoreOp::PutIfAbsent { key: key("a") }, "2").expect("fits");
    assert!(first.hit && !second.hit);
    assert_eq!(second.version, first.version);
    assert_eq!(store.get("a").as_deref(), Some("1"));
}

#[test]
fn a_swap_needs_the_present_version_and_removal_does_not_bring_an_old_one_back() {
    let store = Fixture::new(Limits::default());
    let swap = |expected, value| {
        store.apply(StoreOp::CompareAndSwap { key: key("a"), expected }, value).expect("fits")
    };
    let made = swap(0, "1");
    assert!(made.hit);
    assert!(!swap(0, "x").hit);
    assert!(swap(made.version, "2").hit);
    assert!(!swap(made.version, "x").hit);
    store.apply(StoreOp::Remove { key: key("a") }, "").expect("done");
    let again = swap(0, "3");
    assert!(again.hit && again.version > made.version);
    assert!(!swap(made.version, "x").hit);
}

#[test]
fn over_quota_the_old_value_stays() {
    let store = Fixture::new(Limits { store_bytes: 400, store_entries: 2, ..Limits::default() });
    store.apply(StoreOp::Put { key: key("a") }, "1").expect("fits");
    let long: &'static str = "0123456789".repeat(40).leak();
    let error = store.apply(StoreOp::Put { key: key("a") }, long).expect_err("too large");
    assert!(matches!(error, Cause::Limit { limit: Limit::Quota, allowed: 400 }), "{error}");
    assert_eq!(store.get("a").as_deref(), Some("1"));
    store.apply(StoreOp::Put { key: key("b") }, "2").expect("fits");
    let error = store.apply(StoreOp::Put { key: key("c") }, "3").expect_err("too many");
    assert!(matches!(error, Cause::Limit { limit: Limit::Entries, allowed: 2 }), "{error}");
    store.apply(StoreOp::Remove { key: key("b") }, "").expect("done");
    store.apply(StoreOp::Put { key: key("c") }, "3").expect("fits again");
}

#[test]
fn listings_are_sorted_paged_and_of_one_namespace() {
    let store = Fixture::new(Limits::default());
    for name in ["b/2", "a", "b/1", "b/3"] {
        store.apply(StoreOp::Put { key: key(name) }, "v").expect("fits");
    }
    let other = Namespace::new("other").expect("printable");
    let op = StoreOp::Put { key: key("b/0") };
    store.store.apply(&other, &store.owner, op, Bytes::new()).expect("fits");
    let list = |after: Option<&str>, limit| {
        let after = after.map(key);
        let op = StoreOp::List { prefix: "b/".into(), after, limit };
        let answer = store.apply(op, "").expect("reads");
        let keys: Vec<_> = answer.entries.iter().map(|e| e.key.to_string()).collect();
        (keys, answer.more)
    };
    assert_eq!(list(None, 2), (vec!["b/1".to_owned(), "b/2".to_owned()], true));
    assert_eq!(list(Some("b/2"), 2), (vec!["b/3".to_owned()], false));
}

impl Fixture {
    /// All keys with a prefix, a page after the other, and the size of each page.
    fn pages(&self, prefix: &str, limit: u32) -> (Vec<String>, Vec<usize>) {
        let (mut keys, mut sizes, mut after) = (Vec::new(), Vec::new(), None);
        loop {
            let op = StoreOp::List { prefix: prefix.into(), after: after.take(), limit };
            let answer = self.apply(op, "").expect("reads");
            sizes.push(answer.entries.len());
            keys.extend(answer.entries.iter().map(|entry| entry.key.to_string()));
            if !answer.more {
                return (keys, sizes);
            }
            after = answer.entries.last().map(|entry| entry.key.clone());
        }
    }
}

#[test]
fn pages_join_whatever_their_size() {
    let store = Fixture::new(Limits::default());
    let mut expected: Vec<_> = (0..200).map(|i| format!("k/{i}")).collect();
    for name in expected.iter().map(String::as_str).chain(["k", "k0", "l/1"]) {
        store.apply(StoreOp::Put { key: key(name) }, "v").expect("fits");
    }
    expected.sort_unstable();
    for limit in [1, 63, 64, 65, 199, 200, 201, u32::MAX] {
        let (keys, sizes) = store.pages("k/", limit);
        assert_eq!(keys, expected, "limit {limit}");
        assert!(sizes.iter().all(|size| *size <= limit as usize), "limit {limit}: {sizes:?}");
    }
    assert_eq!(store.pages("", 64).0.len(), 203);
    assert_eq!(store.pages("m", 64), (vec![], vec![0]));
}

#[test]
fn a_page_fits_a_frame() {
    let store = Fixture::new(Limits::default());
    for i in 0..150 {
        let name = format!("{}{i:03}", "k".repeat(1000));
        store.apply(StoreOp::Put { key: key(&name) }, "").expect("fits");
    }
    let (keys, sizes) = store.pages("k", u32::MAX);
    assert_eq!(keys.len(), 150);
    assert!(sizes.iter().all(|size| size * 1003 < 65_535), "{sizes:?}");
}

#[test]
fn the_index_has_the_keys_of_the_entries() {
    let limits = Limits { store_entries: 1, ..Limits::default() };
    let store = Fixture::new(limits);
    let listed = || store.pages("", 10).0;
    store.apply(StoreOp::Put { key: key("a") }, "1").expect("fits");
    store.apply(StoreOp::Put { key: key("a") }, "2").expect("fits");
    store.apply(StoreOp::Put { key: key("b") }, "1").expect_err("too many");
    store.apply(StoreOp::CompareAndSwap { key: key("c"), expected: 7 }, "1").expect("misses");
    assert_eq!(listed(), ["a"]);
    store.apply(StoreOp::Remove { key: key("a") }, "").expect("done");
    assert_eq!(listed(), [""; 0]);
    store.apply(StoreOp::Put { key: key("b") }, "1").expect("fits");
    assert_eq!(listed(), ["b"]);
}
