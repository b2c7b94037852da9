use super::*;
use dpfw_protocol::ids::PeerId;

struct Fixture {
    store: Store,
    namespace: Namespace,
    owner: Principal,
}

impl Fixture {
    fn new(limits: Limits) -> Self {
        let owner = Principal(PeerId::new("m").expect("printable"));
        Self { store: Store::new(&limits), namespace: Namespace::default(), owner }
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
