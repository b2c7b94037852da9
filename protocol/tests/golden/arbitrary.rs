//! Whatever is said arrives as it was said.

use crate::bytes::{encode, frame};
use dpfw_protocol::batch;
use dpfw_protocol::changes::{Change, Changed, Watch, What};
use dpfw_protocol::error::Failure;
use dpfw_protocol::frame::HEADER;
use dpfw_protocol::hello::{Features, Hello, Namespace, PREFACE, PeerLimits, Range, Role};
use dpfw_protocol::ids::{
    AttemptId, BindId, ImageId, Incarnation, MethodId, ModuleHash, PeerId, ResidentId, SessionId,
};
use dpfw_protocol::limits::MAX_NEEDS;
use dpfw_protocol::message::{
    self, Bind, BindMethod, BindResident, CallFlags, CallResident, Description, Dispatch, Done,
    Extras, Failed, ImageBytes, ImageReady, KeptAs, Locate, Located, Log, Message, NeedImage,
    Offer, Origin, Recall, ResidentOp, ResidentReply, ResidentRequest, SpawnAs, Status, StoreReply,
    StoreRequest, TaskFlags, There, Timing,
};
use dpfw_protocol::resident::{End, Mailbox, ResidentInfo, Saving, Stage};
use dpfw_protocol::restart::Restart;
use dpfw_protocol::signature::{Field, Signature, TaskRecord, TypeRecord};
use dpfw_protocol::store::{Disk, EntryInfo, EntryKind, ImageInfo, Key, Principal, StoreOp, Terms};
use dpfw_protocol::task_limits::TaskLimits;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use std::fmt::Debug;
use std::num::NonZeroU64;
use std::time::Duration;

fn text() -> impl Strategy<Value = String> {
    any::<String>()
}

fn peer() -> impl Strategy<Value = PeerId> {
    "[!-~]{1,64}".prop_map(|text| PeerId::new(text).expect("printable"))
}

fn key() -> impl Strategy<Value = Key> {
    ".{1,60}".prop_map(|text| Key::new(text).expect("short"))
}

fn attempts() -> impl Strategy<Value = Vec<AttemptId>> {
    vec(any::<u64>().prop_map(AttemptId), 0..300)
}

fn module() -> impl Strategy<Value = ModuleHash> {
    any::<[u8; 32]>().prop_map(ModuleHash::from_bytes)
}

fn flags() -> impl Strategy<Value = TaskFlags> {
    let one = prop::sample::select(vec![
        TaskFlags::ONCE,
        TaskFlags::EFFECT_FREE,
        TaskFlags::BATCH,
        TaskFlags::ISOLATED,
    ]);
    vec(one, 0..4).prop_map(|all| all.into_iter().fold(TaskFlags::default(), TaskFlags::with))
}

fn failure() -> impl Strategy<Value = Failure> {
    let line = ".{0,60}";
    (any::<u16>(), text(), text(), any::<u64>(), vec(line, 0..64)).prop_map(
        |(code, message, name, number, list)| Failure { code, message, name, number, list },
    )
}

fn timing() -> impl Strategy<Value = Timing> {
    any::<[u64; 4]>().prop_map(|[queued_us, init_us, run_us, memory]| Timing {
        queued_us,
        init_us,
        run_us,
        memory,
    })
}

fn fields() -> impl Strategy<Value = Vec<Field>> {
    vec((text(), text()).prop_map(|(name, ty)| Field { name, ty }), 0..5)
}

fn task() -> impl Strategy<Value = TaskRecord> {
    (text(), fields(), text(), any::<[bool; 3]>(), text(), text()).prop_map(
        |(name, args, returns, [fallible, once, effect_free], doc, image)| TaskRecord {
            name,
            args,
            returns,
            fallible,
            once,
            effect_free,
            doc,
            image,
        },
    )
}

fn signature() -> impl Strategy<Value = Signature> {
    let ty = (text(), fields()).prop_map(|(name, fields)| TypeRecord { name, fields });
    (task(), vec(ty, 0..5)).prop_map(|(task, types)| Signature { task, types })
}

fn bind() -> impl Strategy<Value = Bind> {
    (any::<u32>(), module(), text(), option::of(signature())).prop_map(
        |(bind, module, task, expects)| Bind { bind: BindId(bind), module, task, expects },
    )
}

fn dispatch() -> impl Strategy<Value = Dispatch> {
    let extras = option::of(extras().prop_map(Box::new));
    (any::<u32>(), flags(), option::of(any::<u64>()), any::<u64>(), extras).prop_map(
        |(bind, flags, budget_us, payload, extras)| Dispatch {
            bind: BindId(bind),
            flags,
            budget_us,
            payload,
            extras,
        },
    )
}

fn extras() -> impl Strategy<Value = Extras> {
    let spawn = option::of(spawn_as().prop_map(Box::new));
    (option::of(task_limits()), option::of(key()), vec(key(), 0..=MAX_NEEDS), spawn)
        .prop_map(|(limits, keep, needs, spawn)| Extras { limits, keep, needs, spawn })
}

fn restart() -> impl Strategy<Value = Restart> {
    (any::<u64>(), option::of(any::<u32>()), option::of(any::<u64>())).prop_map(
        |(every, retries, backoff)| {
            let restart = Restart::every(Duration::from_millis(every));
            let restart = retries.map_or(restart, |retries| restart.retries(retries));
            backoff.map_or(restart, |most| restart.backoff(Duration::from_millis(most)))
        },
    )
}

fn spawn_as() -> impl Strategy<Value = SpawnAs> {
    let saving = option::of(any::<u64>()).prop_map(|ms| ms.map_or(Saving::EachCall, Saving::After));
    let there = prop::sample::select(vec![There::Refuse, There::Take]);
    let on_restart = prop::sample::select(vec![Mailbox::Keep, Mailbox::Tell]);
    let rest = (
        any::<u32>(),
        any::<[bool; 2]>(),
        option::of(any::<u64>()),
        option::of(any::<NonZeroU64>()),
    );
    (key(), there, option::of(restart()), on_restart, saving, rest).prop_map(
        |(key, there, restart, on_restart, saving, (mailbox, [durable, held], state, lineage))| {
            SpawnAs {
                key,
                there,
                restart,
                on_restart,
                mailbox,
                saving,
                durable,
                state,
                held,
                lineage,
            }
        },
    )
}

fn call_resident() -> impl Strategy<Value = CallResident> {
    let flags = prop::sample::select(vec![CallFlags::default(), CallFlags::CAST]);
    (any::<[u64; 2]>(), any::<u32>(), flags, option::of(any::<u64>())).prop_map(
        |([resident, payload], method, flags, budget_us)| CallResident {
            resident: ResidentId(resident),
            method: MethodId(method),
            flags,
            budget_us,
            payload,
        },
    )
}

fn resident_op() -> impl Strategy<Value = ResidentOp> {
    let resident = || any::<u64>().prop_map(ResidentId);
    let list = (".{0,60}", option::of(key()), any::<u32>());
    prop_oneof![
        key().prop_map(|key| ResidentOp::Find { key }),
        list.prop_map(|(prefix, after, limit)| ResidentOp::List { prefix, after, limit }),
        resident().prop_map(|resident| ResidentOp::Stop { resident }),
        resident().prop_map(|resident| ResidentOp::Await { resident }),
        resident().prop_map(|resident| ResidentOp::HandOver { resident }),
        resident().prop_map(|resident| ResidentOp::TakeBack { resident }),
        (resident(), peer()).prop_map(|(resident, to)| ResidentOp::Moved { resident, to }),
        resident().prop_map(|resident| ResidentOp::LetGo { resident }),
        (key(), resident()).prop_map(|(key, left)| ResidentOp::GiveWay { key, left }),
    ]
}

fn resident_info() -> impl Strategy<Value = ResidentInfo> {
    let stages = vec![Stage::Alive, Stage::Restarting, Stage::Moving];
    let lineage = option::of(any::<NonZeroU64>());
    let numbers = (any::<[u64; 4]>(), any::<[u32; 3]>(), any::<bool>(), lineage);
    (numbers, key(), ".{0,60}", module(), peer(), prop::sample::select(stages)).prop_map(
        |(numbers, key, class, module, owner, stage)| {
            let ([resident, served, memory, age_ms], rest, saves, lineage) = numbers;
            let [waiting, mailbox, restarts] = rest;
            ResidentInfo {
                resident: ResidentId(resident),
                key,
                class,
                module,
                owner: Principal(owner),
                stage,
                served,
                waiting,
                mailbox,
                memory,
                age_ms,
                restarts,
                saves,
                lineage,
            }
        },
    )
}

fn resident_reply() -> impl Strategy<Value = ResidentReply> {
    let end = prop_oneof![
        Just(End::Stopped),
        Just(End::Failed),
        Just(End::Drained),
        peer().prop_map(End::Moved),
    ];
    let spawn = option::of(spawn_as().prop_map(Box::new));
    let head = (option::of(failure()), vec(resident_info(), 0..20), any::<bool>());
    (head, option::of(end), spawn, any::<u64>(), option::of(".{0,60}")).prop_map(
        |((failure, residents, more), end, spawn, payload, constructor)| ResidentReply {
            failure,
            residents,
            more,
            end,
            spawn,
            payload,
            constructor,
        },
    )
}

fn task_limits() -> impl Strategy<Value = TaskLimits> {
    let some = || option::of(any::<u64>());
    (some(), some(), some(), some(), some(), some()).prop_map(
        |(memory, table, time_us, host_calls, result, log)| TaskLimits {
            memory,
            table,
            time_us,
            host_calls,
            result,
            log,
        },
    )
}

fn op() -> impl Strategy<Value = StoreOp> {
    let list = (".{0,60}", option::of(key()), any::<u32>());
    prop_oneof![
        key().prop_map(|key| StoreOp::Get { key }),
        key().prop_map(|key| StoreOp::Put { key }),
        key().prop_map(|key| StoreOp::PutIfAbsent { key }),
        (key(), any::<u64>()).prop_map(|(key, expected)| StoreOp::CompareAndSwap { key, expected }),
        (key(), any::<u64>()).prop_map(|(key, expected)| StoreOp::Update { key, expected }),
        key().prop_map(|key| StoreOp::Remove { key }),
        (key(), any::<[u64; 2]>()).prop_map(|(key, [offset, len])| StoreOp::GetRange {
            key,
            offset,
            len
        }),
        (key(), any::<bool>()).prop_map(|(key, pinned)| StoreOp::Pin { key, pinned }),
        key().prop_map(|key| StoreOp::Look { key }),
        list.prop_map(|(prefix, after, limit)| StoreOp::List { prefix, after, limit }),
    ]
}

fn terms() -> impl Strategy<Value = Terms> {
    (any::<[bool; 2]>(), option::of(any::<u64>()))
        .prop_map(|([evictable, durable], ttl_ms)| Terms { evictable, ttl_ms, durable })
}

fn changed() -> impl Strategy<Value = Changed> {
    let whats = vec![What::Present, What::Put, What::Removed, What::Expired, What::Evicted];
    let change = (entry(), prop::sample::select(whats)).prop_map(|(entry, what)| Change {
        key: entry.key,
        kind: entry.kind,
        version: entry.version,
        what,
    });
    (option::of(failure()), any::<u64>(), vec(change, 0..20))
        .prop_map(|(failure, missed, changes)| Changed { failure, missed, changes })
}

fn entry() -> impl Strategy<Value = EntryInfo> {
    let kinds = vec![EntryKind::Value, EntryKind::Image, EntryKind::Resident];
    let kinds = prop::sample::select(kinds);
    (key(), kinds, any::<[u64; 3]>(), peer(), terms(), any::<bool>(), option::of(image())).prop_map(
        |(key, kind, [bytes, version, idle_s], owner, terms, pinned, image)| EntryInfo {
            key,
            kind,
            bytes,
            version,
            idle_s,
            owner: Principal(owner),
            pinned,
            evictable: terms.evictable,
            ttl_ms: terms.ttl_ms,
            image: image.map(Box::new),
        },
    )
}

fn image() -> impl Strategy<Value = ImageInfo> {
    let origins = vec![Origin::There, Origin::Kept, Origin::Built, Origin::Sent];
    let hashes = any::<[[u8; 32]; 3]>();
    (hashes, ".{0,40}", any::<[u64; 3]>(), prop::sample::select(origins)).prop_map(
        |([id, module, hash], init, [snapshot, memory, init_us], origin)| ImageInfo {
            id: ImageId::from_bytes(id),
            module: ModuleHash::from_bytes(module),
            init,
            hash: ModuleHash::from_bytes(hash),
            snapshot,
            memory,
            origin,
            init_us,
        },
    )
}

fn reply() -> impl Strategy<Value = StoreReply> {
    let flags = any::<[bool; 2]>();
    (option::of(failure()), flags, any::<u64>(), vec(entry(), 0..20), any::<u64>()).prop_map(
        |(failure, [hit, more], version, entries, payload)| StoreReply {
            failure,
            hit,
            version,
            entries,
            more,
            payload,
        },
    )
}

fn status() -> impl Strategy<Value = Status> {
    let set = || attempts().prop_map(|attempts| attempts.into_iter().collect());
    (any::<[u32; 5]>(), any::<bool>(), any::<u64>(), set(), set()).prop_map(
        |([slots, running, waiting, sandboxes, queued], taken, upto, attempts, others)| Status {
            slots,
            running,
            waiting,
            sandboxes,
            queued,
            taken,
            upto: AttemptId(upto),
            attempts,
            others,
        },
    )
}

fn description() -> impl Strategy<Value = Description> {
    let disks = vec![Disk::Memory, Disk::Durable, Disk::Full, Disk::Failed];
    let disk = prop::sample::select(disks);
    (any::<[u32; 9]>(), any::<[u64; 5]>(), ".{0,60}", any::<bool>(), disk).prop_map(
        |(
            small,
            [memory, store_bytes, store_entries, store_evicted, uptime_s],
            agent,
            draining,
            disk,
        )| {
            let [slots, running, waiting, queued, sandboxes, load_milli, residents, modules, links] =
                small;
            Description {
                slots,
                running,
                waiting,
                queued,
                sandboxes,
                load_milli,
                memory,
                store_bytes,
                store_entries,
                store_evicted,
                residents,
                modules,
                links,
                uptime_s,
                agent,
                draining,
                disk,
            }
        },
    )
}

fn hello() -> impl Strategy<Value = Hello> {
    let role = prop::sample::select(vec![Role::Master, Role::Slave]);
    let limits = (any::<u64>(), any::<u64>(), any::<u32>())
        .prop_map(|(window, payload, attempts)| PeerLimits { window, payload, attempts });
    let namespace = "[!-~]{1,64}".prop_map(|text| Namespace::new(text).expect("printable"));
    let session = option::of(any::<u64>().prop_map(SessionId));
    let numbers = (any::<[u16; 2]>(), any::<[u64; 2]>(), any::<[u32; 2]>());
    (numbers, role, peer(), session, namespace, limits, ".{0,60}").prop_map(
        |(numbers, role, peer, session, namespace, limits, agent)| {
            let ([min, max], [incarnation, features], [slots, serial]) = numbers;
            Hello {
                protocol: Range { min, max },
                role,
                peer,
                incarnation: Incarnation(incarnation),
                serial,
                session,
                features: Features(features),
                namespace,
                limits,
                slots,
                agent,
            }
        },
    )
}

fn survives<M: Message + PartialEq + Debug>(message: &M, payload: &[u8]) {
    let bytes = encode(7, message, payload, true);
    let (decoded, behind) = message::decode::<M>(&frame(&bytes)).expect("decodes");
    assert_eq!((&decoded, behind), (message, payload));
}

proptest! {
    #[test]
    fn a_hello_survives(hello in hello()) {
        let bytes = hello.to_bytes().expect("fits");
        prop_assert_eq!(Hello::from_body(&bytes[PREFACE.len() + HEADER..]), Ok(hello));
    }

    #[test]
    fn a_bind_survives(bind in bind()) {
        survives(&bind, b"");
    }

    #[test]
    fn a_dispatch_survives(dispatch in dispatch(), payload in vec(any::<u8>(), 0..100)) {
        survives(&dispatch, &payload);
    }

    #[test]
    fn a_recall_survives(attempts in attempts()) {
        survives(&Recall { attempts }, b"");
    }

    #[test]
    fn a_store_request_survives(
        op in op(),
        terms in terms(),
        payload in vec(any::<u8>(), 0..100),
    ) {
        survives(&StoreRequest { op, payload: payload.len() as u64, terms }, &payload);
    }

    #[test]
    fn a_watch_survives(prefix in ".{0,60}", present: bool, changed in changed()) {
        survives(&Watch { prefix, present }, b"");
        survives(&changed, b"");
    }

    #[test]
    fn a_store_reply_survives(reply in reply(), payload in vec(any::<u8>(), 0..100)) {
        survives(&reply, &payload);
    }

    #[test]
    fn what_is_said_of_an_image_survives(image in image(), refused: bool, own: bool) {
        let ImageInfo { id, module, init, hash, snapshot, memory, origin, init_us } = image;
        survives(&NeedImage { image: id, refused }, b"");
        let offer = Offer::Snapshot { module, init, init_us };
        survives(&ImageBytes { image: id, offer, payload: 3 }, b"abc");
        let (image, took_us) = (id, init_us);
        let ready = ImageReady { image, origin, hash, snapshot, memory, init_us, took_us, own };
        survives(&ready, b"");
    }

    #[test]
    fn an_end_survives(
        timing in timing(),
        failure in failure(),
        payload: u64,
        kept in option::of((any::<u64>(), any::<u64>())),
    ) {
        let kept = kept.map(|(version, bytes)| KeptAs { version, bytes });
        survives(&Done { timing, payload, kept }, b"");
        survives(&Failed { timing, failure }, b"");
    }

    #[test]
    fn a_call_of_a_resident_survives(
        bind in bind(),
        call in call_resident(),
        payload in vec(any::<u8>(), 0..100),
    ) {
        let Bind { bind, module, task, expects } = bind;
        let constructor = task.clone();
        let of_resident = BindResident { bind, module, constructor, expects: expects.clone() };
        survives(&of_resident, b"");
        survives(&BindMethod { method: MethodId(bind.0), module, name: task, expects }, b"");
        survives(&call, &payload);
    }

    #[test]
    fn what_is_asked_of_a_resident_survives(
        op in resident_op(),
        reply in resident_reply(),
        payload in vec(any::<u8>(), 0..100),
    ) {
        survives(&ResidentRequest { op }, b"");
        survives(&reply, &payload);
    }

    #[test]
    fn a_search_survives(keys in vec(key(), 0..=MAX_NEEDS)) {
        survives(&Located { held: keys.iter().map(|key| key.as_str().len() > 9).collect() }, b"");
        survives(&Locate { keys }, b"");
    }

    #[test]
    fn a_status_survives(status in status()) {
        survives(&status, b"");
    }

    #[test]
    fn a_description_survives(description in description()) {
        survives(&description, b"");
    }

    #[test]
    fn a_log_line_survives(level: u8, target in text(), text in text()) {
        survives(&Log { level, target, text }, b"");
    }

    #[test]
    fn a_batch_survives(calls in vec(vec(any::<u8>(), 0..50), 0..20)) {
        let mut bytes = Vec::new();
        calls.iter().for_each(|call| batch::push_call(&mut bytes, &call.clone().into()));
        let back: Result<Vec<_>, _> = batch::calls(&bytes).collect();
        prop_assert_eq!(back, Ok(calls.iter().map(Vec::as_slice).collect()));
    }
}
