//! One fixed value of everything that is said on a link.

use dpfw_protocol::changes::{Change, Changed, Watch, What};
use dpfw_protocol::error::{Cause, Limit, Location};
use dpfw_protocol::hello::{Features, Hello, Namespace, PeerLimits, Range, Role};
use dpfw_protocol::ids::{
    AttemptId, BindId, ImageId, Incarnation, MethodId, ModuleHash, PeerId, ResidentId, SessionId,
};
use dpfw_protocol::message::{
    Abandon, Bind, BindImage, BindMethod, BindResident, CallFlags, CallResident, Close,
    Description, Dispatch, Done, Extras, Failed, FetchImage, ImageBytes, ImageGone, ImageReady,
    KeptAs, Loading, Locate, Located, Log, ModuleBytes, NeedImage, NeedModule, Offer, Origin,
    Queued, Recall, ResidentOp, ResidentReply, ResidentRequest, Returned, Snapshot, SpawnAs,
    Started, Status, StoreReply, StoreRequest, TaskFlags, There, Timing, Waiting, close,
};
use dpfw_protocol::resident::{End, Mailbox, ResidentInfo, Saving, Stage};
use dpfw_protocol::restart::Restart;
use dpfw_protocol::signature::{Field, Signature, TaskRecord, TypeRecord};
use dpfw_protocol::store::{Disk, EntryInfo, EntryKind, ImageInfo, Key, Principal, StoreOp, Terms};
use dpfw_protocol::task_limits::TaskLimits;
use std::array;
use std::num::NonZeroU64;
use std::time::Duration;

pub(crate) fn peer(name: &str) -> PeerId {
    PeerId::new(name).expect("printable")
}

pub(crate) fn key(text: &str) -> Key {
    Key::new(text).expect("short")
}

/// The hash whose bytes count from 0 to 31.
pub(crate) fn module() -> ModuleHash {
    ModuleHash::from_bytes(array::from_fn(|i| i as u8))
}

pub(crate) fn hello_of_a_master() -> Hello {
    Hello {
        protocol: Range { min: 1, max: 1 },
        role: Role::Master,
        peer: peer("m"),
        incarnation: Incarnation(0x0102_0304_0506_0708),
        serial: 0,
        session: Some(SessionId(1)),
        features: Features(0),
        namespace: Namespace::default(),
        limits: PeerLimits { window: 4 << 20, payload: 1 << 30, attempts: 8192 },
        slots: 0,
        agent: "dpfw 0.1.0".into(),
    }
}

pub(crate) fn hello_of_a_slave() -> Hello {
    Hello {
        role: Role::Slave,
        peer: peer("s"),
        incarnation: Incarnation(9),
        session: None,
        slots: 2,
        agent: String::new(),
        ..hello_of_a_master()
    }
}

/// The second slave of a process.
pub(crate) fn hello_of_another_slave() -> Hello {
    Hello { serial: 1, ..hello_of_a_slave() }
}

pub(crate) fn timing() -> Timing {
    Timing { queued_us: 5, init_us: 200, run_us: 70_000, memory: 1 << 20 }
}

pub(crate) fn bind() -> Bind {
    Bind { bind: BindId(0), module: module(), task: "add".into(), expects: None }
}

pub(crate) fn bind_with_a_belief() -> Bind {
    let field = |name: &str, ty: &str| Field { name: name.into(), ty: ty.into() };
    let task = TaskRecord {
        name: "find".into(),
        args: vec![field("q", "Query")],
        returns: "u32".into(),
        fallible: true,
        once: true,
        effect_free: false,
        doc: "Finds.".into(),
        image: "build".into(),
    };
    let types = vec![TypeRecord { name: "Query".into(), fields: vec![field("text", "String")] }];
    let expects = Some(Signature { task, types });
    Bind { bind: BindId(1), module: module(), task: "find".into(), expects }
}

fn image() -> ImageId {
    ImageId::from_bytes([0x1f; 32])
}

pub(crate) fn bind_image() -> BindImage {
    let key = Some(Key::new("index").expect("short"));
    let (bind, task) = (BindId(2), "find".into());
    BindImage { bind, image: image(), module: module(), key, task, expects: None }
}

pub(crate) fn need_image() -> NeedImage {
    NeedImage { image: image(), refused: false }
}

pub(crate) fn need_recipe() -> NeedImage {
    NeedImage { refused: true, ..need_image() }
}

/// What the master has of an image: a module of 8 bytes, and arguments behind it.
pub(crate) fn recipe() -> ImageBytes {
    let offer = Offer::Recipe { init: "build".into(), module: 8 };
    ImageBytes { image: image(), offer, payload: 10 }
}

pub(crate) fn no_recipe() -> ImageBytes {
    ImageBytes { image: image(), offer: Offer::Nothing, payload: 0 }
}

pub(crate) fn image_sent() -> ImageBytes {
    let offer = Offer::Snapshot { module: module(), init: "build".into(), init_us: 2_000_000 };
    ImageBytes { image: image(), offer, payload: 8 }
}

pub(crate) fn image_ready() -> ImageReady {
    ImageReady {
        image: image(),
        origin: Origin::Built,
        hash: module(),
        snapshot: 64 << 20,
        memory: 65 << 20,
        init_us: 2_000_000,
        took_us: 2_670_000,
        own: true,
    }
}

pub(crate) fn image_gone() -> ImageGone {
    ImageGone { image: image() }
}

pub(crate) fn fetch_image() -> FetchImage {
    FetchImage { image: image() }
}

pub(crate) fn snapshot() -> Snapshot {
    Snapshot { failure: None, payload: 8 }
}

pub(crate) fn no_snapshot() -> Snapshot {
    let cause = Cause::Busy { what: "the image is not here any more".into() };
    Snapshot { failure: Some(cause.into()), payload: 0 }
}

pub(crate) fn dispatch() -> Dispatch {
    let flags = TaskFlags::default();
    Dispatch { bind: BindId(0), flags, budget_us: None, payload: 3, extras: None }
}

/// That may use less than the slave allows.
pub(crate) fn dispatch_with_limits() -> Dispatch {
    let limits = TaskLimits::new().memory(64 << 20).time(Duration::from_secs(2)).host_calls(1000);
    let extras = Extras { limits: Some(limits), ..Extras::default() };
    Dispatch { extras: Some(Box::new(extras)), ..dispatch() }
}

/// Whose result stays at its slave, and that needs two entries there.
pub(crate) fn dispatch_with_keys() -> Dispatch {
    let needs = vec![key("a"), key("b")];
    let extras = Extras { keep: Some(key("c")), needs, ..Extras::default() };
    Dispatch { extras: Some(Box::new(extras)), ..dispatch() }
}

pub(crate) fn locate() -> Locate {
    Locate { keys: vec![key("a"), key("b")] }
}

pub(crate) fn located() -> Located {
    Located { held: vec![true, false] }
}

/// With a deadline and flags, and arguments that follow in chunks.
pub(crate) fn dispatch_of_a_batch() -> Dispatch {
    let flags = TaskFlags::EFFECT_FREE.with(TaskFlags::BATCH);
    let budget_us = Some(1_500_000);
    Dispatch { bind: BindId(1), flags, budget_us, payload: 100_000, extras: None }
}

pub(crate) fn attempts() -> Vec<AttemptId> {
    vec![AttemptId(1), AttemptId(300), AttemptId(70_000)]
}

pub(crate) fn recall() -> Recall {
    Recall { attempts: attempts() }
}

pub(crate) fn started() -> Started {
    Started { attempts: attempts() }
}

pub(crate) fn loading() -> Loading {
    Loading { attempts: attempts() }
}

pub(crate) fn queued() -> Queued {
    Queued { attempts: attempts() }
}

pub(crate) fn waiting() -> Waiting {
    Waiting { attempts: attempts() }
}

pub(crate) fn returned() -> Returned {
    Returned { attempts: attempts() }
}

pub(crate) fn module_bytes() -> ModuleBytes {
    ModuleBytes { module: module(), payload: 8 }
}

pub(crate) fn need_module() -> NeedModule {
    NeedModule { module: module() }
}

/// Every operation on the store.
pub(crate) fn store_requests() -> [(StoreRequest, &'static [u8]); 13] {
    let ask = |op| StoreRequest { op, payload: 0, terms: Terms::default() };
    let write = |op| StoreRequest { op, payload: 2, terms: Terms::default() };
    let terms = Terms { evictable: true, ttl_ms: Some(60_000), durable: false };
    let durable = Terms { durable: true, ..Terms::default() };
    let key = || key("k");
    [
        (ask(StoreOp::Get { key: key() }), b""),
        (write(StoreOp::Put { key: key() }), b"\xcc\xc8"),
        (write(StoreOp::PutIfAbsent { key: key() }), b"\xcc\xc8"),
        (write(StoreOp::CompareAndSwap { key: key(), expected: 9 }), b"\xcc\xc8"),
        (write(StoreOp::Update { key: key(), expected: 9 }), b"\xcc\xc8"),
        (ask(StoreOp::Remove { key: key() }), b""),
        (
            ask(StoreOp::List { prefix: "a/".into(), after: Some(self::key("a/b")), limit: 100 }),
            b"",
        ),
        (ask(StoreOp::GetRange { key: key(), offset: 1000, len: 65_536 }), b""),
        (ask(StoreOp::Pin { key: key(), pinned: true }), b""),
        (ask(StoreOp::Look { key: key() }), b""),
        (StoreRequest { terms, ..write(StoreOp::Put { key: key() }) }, b"\xcc\xc8"),
        (StoreRequest { terms: durable, ..write(StoreOp::Put { key: key() }) }, b"\xcc\xc8"),
        (StoreRequest { terms: durable, ..ask(StoreOp::Remove { key: key() }) }, b""),
    ]
}

pub(crate) fn watch() -> Watch {
    Watch { prefix: "a/".into(), present: true }
}

pub(crate) fn changed() -> Changed {
    let change = |version, what| Change { key: key("a/b"), kind: EntryKind::Value, version, what };
    let changes = vec![change(9, What::Put), change(12, What::Evicted)];
    Changed { failure: None, missed: 3, changes }
}

pub(crate) fn store_reply() -> StoreReply {
    StoreReply { failure: None, hit: true, version: 9, entries: vec![], more: false, payload: 2 }
}

pub(crate) fn store_reply_of_a_listing() -> StoreReply {
    let entry = EntryInfo {
        key: key("a/c"),
        kind: EntryKind::Value,
        bytes: 1000,
        version: 9,
        idle_s: 60,
        owner: Principal(peer("m")),
        pinned: false,
        evictable: true,
        ttl_ms: Some(1500),
        image: None,
    };
    StoreReply {
        failure: None,
        hit: true,
        version: 0,
        entries: vec![entry],
        more: true,
        payload: 0,
    }
}

pub(crate) fn store_reply_of_an_image() -> StoreReply {
    let image = ImageInfo {
        id: image(),
        module: module(),
        init: "build".into(),
        hash: ModuleHash::from_bytes([0x2e; 32]),
        snapshot: 64 << 20,
        memory: 65 << 20,
        origin: Origin::Built,
        init_us: 2_000_000,
    };
    let entry = EntryInfo {
        key: key("index"),
        kind: EntryKind::Image,
        bytes: image.memory,
        version: 9,
        idle_s: 60,
        owner: Principal(peer("m")),
        pinned: false,
        evictable: true,
        ttl_ms: None,
        image: Some(Box::new(image)),
    };
    StoreReply {
        failure: None,
        hit: true,
        version: 9,
        entries: vec![entry],
        more: false,
        payload: 0,
    }
}

pub(crate) fn store_reply_of_a_failure() -> StoreReply {
    let quota = Cause::Limit { limit: Limit::Quota, allowed: 1 << 30 };
    StoreReply {
        failure: Some(quota.into()),
        hit: false,
        version: 0,
        entries: vec![],
        more: false,
        payload: 0,
    }
}

pub(crate) fn done() -> Done {
    Done { timing: timing(), payload: 1, kept: None }
}

/// Of a result that stays at the slave.
pub(crate) fn done_kept() -> Done {
    let kept = Some(KeptAs { version: 9, bytes: 256 << 20 });
    Done { timing: timing(), payload: 0, kept }
}

pub(crate) fn not_allowed() -> Failed {
    let cause = Cause::NotAllowed { what: "to look".into() };
    Failed { timing: Timing::default(), failure: cause.into() }
}

pub(crate) fn failed() -> Failed {
    let cause = Cause::Panic {
        message: "no".into(),
        location: Some(Location { file: "lib.rs".into(), line: 7, column: 13 }),
        backtrace: vec!["f".into()],
    };
    Failed { timing: Timing::default(), failure: cause.into() }
}

pub(crate) fn log() -> Log {
    Log { level: 3, target: "stdout".into(), text: "hi".into() }
}

pub(crate) fn status() -> Status {
    Status {
        slots: 2,
        running: 1,
        waiting: 0,
        sandboxes: 1,
        queued: 300,
        taken: false,
        upto: AttemptId(300),
        attempts: [AttemptId(1)].into_iter().collect(),
        others: [AttemptId(2), AttemptId(300)].into_iter().collect(),
    }
}

pub(crate) fn description() -> Description {
    Description {
        slots: 2,
        running: 1,
        waiting: 0,
        queued: 300,
        sandboxes: 1,
        load_milli: 1500,
        memory: 11 << 20,
        store_bytes: 1000,
        store_entries: 3,
        store_evicted: 5,
        residents: 6,
        modules: 4,
        links: 2,
        uptime_s: 86_400,
        agent: "dpfw 0.1.0".into(),
        draining: false,
        disk: Disk::Memory,
    }
}

/// Of a slave that keeps its store on disk.
pub(crate) fn description_with_a_disk() -> Description {
    Description { disk: Disk::Durable, ..description() }
}

pub(crate) fn closing() -> Close {
    Close { code: close::DRAINED, reason: "the slave has drained".into() }
}

pub(crate) fn abandon() -> Abandon {
    Abandon { failure: Cause::Cancelled.into() }
}

pub(crate) fn bind_resident() -> BindResident {
    let constructor = "counter.new".into();
    BindResident { bind: BindId(3), module: module(), constructor, expects: None }
}

pub(crate) fn bind_method() -> BindMethod {
    let name = "counter.bump".into();
    BindMethod { method: MethodId(0), module: module(), name, expects: None }
}

pub(crate) fn call_resident() -> CallResident {
    let (resident, method, flags) = (ResidentId(7), MethodId(0), CallFlags::default());
    CallResident { resident, method, flags, budget_us: Some(1_500_000), payload: 1 }
}

pub(crate) fn cast_resident() -> CallResident {
    CallResident { flags: CallFlags::CAST, budget_us: None, ..call_resident() }
}

pub(crate) fn spawn_as() -> SpawnAs {
    let restart = Restart::every(Duration::from_secs(1)).retries(3);
    SpawnAs {
        key: key("c"),
        there: There::Take,
        restart: Some(restart.backoff(Duration::from_secs(60))),
        on_restart: Mailbox::Tell,
        mailbox: 64,
        saving: Saving::After(500),
        durable: true,
        state: None,
        held: false,
        lineage: None,
    }
}

/// That makes a resident.
pub(crate) fn dispatch_of_a_spawn() -> Dispatch {
    let extras = Extras { spawn: Some(Box::new(spawn_as())), ..Extras::default() };
    Dispatch {
        bind: BindId(3),
        flags: TaskFlags::ONCE,
        payload: 2,
        extras: Some(Box::new(extras)),
        ..dispatch()
    }
}

/// Everything that is asked of residents.
pub(crate) fn resident_requests() -> [ResidentRequest; 9] {
    let resident = ResidentId(7);
    let list = ResidentOp::List { prefix: "a/".into(), after: Some(key("a/b")), limit: 100 };
    [
        ResidentOp::Find { key: key("c") },
        list,
        ResidentOp::Stop { resident },
        ResidentOp::Await { resident },
        ResidentOp::HandOver { resident },
        ResidentOp::TakeBack { resident },
        ResidentOp::Moved { resident, to: peer("s2") },
        ResidentOp::LetGo { resident: ResidentId(8) },
        ResidentOp::GiveWay { key: key("c"), left: ResidentId(u64::MAX) },
    ]
    .map(|op| ResidentRequest { op })
}

fn resident_info() -> ResidentInfo {
    ResidentInfo {
        resident: ResidentId(7),
        key: key("c"),
        class: "counter".into(),
        module: module(),
        owner: Principal(peer("m")),
        stage: Stage::Alive,
        served: 300,
        waiting: 2,
        mailbox: 1024,
        memory: 1 << 20,
        age_ms: 60_000,
        restarts: 1,
        saves: true,
        lineage: None,
    }
}

pub(crate) fn resident_reply() -> ResidentReply {
    ResidentReply { residents: vec![resident_info()], more: true, ..ResidentReply::default() }
}

pub(crate) fn resident_reply_of_a_lineage() -> ResidentReply {
    let info = ResidentInfo { lineage: NonZeroU64::new(1 << 40), ..resident_info() };
    ResidentReply { residents: vec![info], ..ResidentReply::default() }
}

pub(crate) fn resident_reply_of_an_end() -> ResidentReply {
    ResidentReply { end: Some(End::Moved(peer("s2"))), ..ResidentReply::default() }
}

/// With its arguments and its state behind it.
pub(crate) fn resident_reply_of_a_hand_over() -> ResidentReply {
    let spawn = SpawnAs { there: There::Refuse, state: Some(1), held: true, ..spawn_as() };
    let (spawn, constructor) = (Some(Box::new(spawn)), Some("counter.new".into()));
    ResidentReply { spawn, constructor, payload: 3, ..ResidentReply::default() }
}
