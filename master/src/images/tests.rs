use super::*;
use dpfw_protocol::ids::ModuleHash;
use dpfw_protocol::image::Recipe;
use dpfw_protocol::message::Origin;
use dpfw_protocol::module::Module;
use dpfw_protocol::store::Key;

const A: SlaveId = SlaveId(1);
const B: SlaveId = SlaveId(2);
const C: SlaveId = SlaveId(3);
const SNAPSHOT: &[u8] = b"the memory";

fn plan(transfer: Transfer) -> Arc<Plan> {
    let module = Module::new(&b"\0asm\x01\0\0\0"[..]);
    let recipe = Recipe::new(module, "build".into(), Payload::from(&b"\x90"[..]));
    Arc::new(Plan::of(recipe, None, transfer))
}

/// The same image, looked up.
fn found(plan: &Plan) -> Arc<Plan> {
    let key = Key::new("index").expect("short");
    let (module, init) = (plan.module.clone(), Arc::clone(&plan.init));
    let (known, transfer) = (Knowledge::Key(key), Transfer::Always);
    Arc::new(Plan { id: plan.id, module, init, known, key: None, transfer, afresh: None })
}

fn ready(plan: &Plan, origin: Origin, init_us: u64) -> ImageReady {
    let (hash, snapshot) = (ModuleHash::of(SNAPSHOT), SNAPSHOT.len() as u64);
    let image = plan.id;
    let (memory, took_us, own) = (1 << 20, init_us, matches!(origin, Origin::Built | Origin::Kept));
    ImageReady { image, origin, hash, snapshot, memory, init_us, took_us, own }
}

/// Images of which the first slave has built this one.
fn built(plan: &Arc<Plan>, init_us: u64) -> Images {
    let mut images = Images::default();
    images.learn(plan);
    assert!(images.ready(A, ready(plan, Origin::Built, init_us)).is_empty());
    images
}

/// What is told of the only image concerned.
fn one(told: Vec<(ImageId, Answers)>) -> Answers {
    let [(_, answers)] = <[_; 1]>::try_from(told).unwrap_or_else(|_| panic!("one image"));
    answers
}

fn is_recipe(answer: &Answer) -> bool {
    matches!(answer, Answer::Bytes(Offer::Recipe { .. }, payload) if payload.len() == 9)
}

fn is_snapshot(answer: &Answer) -> bool {
    matches!(answer, Answer::Bytes(Offer::Snapshot { .. }, payload) if payload.len() == SNAPSHOT.len())
}

fn is_nothing(answer: &Answer) -> bool {
    matches!(answer, Answer::Bytes(Offer::Nothing, payload) if payload.is_empty())
}

#[test]
fn the_first_slave_gets_the_recipe_and_nobody_knows_it_when_all_have_dropped_it() {
    let plan = plan(Transfer::default());
    let (mut images, id) = (Images::default(), plan.id);
    assert!(is_nothing(&images.asked(A, id, false)));
    images.learn(&plan);
    assert!(is_recipe(&images.asked(A, id, false)));
    drop(plan);
    assert!(is_nothing(&images.asked(A, id, false)));
}

#[test]
fn a_snapshot_is_fetched_once_for_all_who_ask_meanwhile_and_kept_for_those_who_come() {
    let plan = plan(Transfer::Always);
    let (mut images, id) = (built(&plan, 0), plan.id);
    assert!(matches!(images.asked(B, id, false), Answer::Fetch(A)));
    assert!(matches!(images.asked(C, id, false), Answer::Later));
    assert!(images.fetched(B, id, Some(SNAPSHOT.into())).is_empty(), "it was not asked");
    let answers = one(images.fetched(A, id, Some(SNAPSHOT.into())));
    assert_eq!(answers.iter().map(|(slave, _)| *slave).collect::<Vec<_>>(), [B, C]);
    assert!(answers.iter().all(|(_, answer)| is_snapshot(answer)));
    assert!(is_snapshot(&images.asked(SlaveId(4), id, false)));
    images.sweep();
    assert!(images.kept.is_some());
    drop(plan);
    images.sweep();
    assert!(images.kept.is_none(), "nobody has the image any more");
}

#[test]
fn it_is_sent_where_that_is_quicker_than_the_init_was() {
    let plan = plan(Transfer::WhenQuicker);
    let asked = |init_us| built(&plan, init_us).asked(B, plan.id, false);
    // 10 bytes twice at 100 MB/s take 0.2 us.
    assert!(matches!(asked(1), Answer::Fetch(A)));
    assert!(is_recipe(&asked(0)));
    let never = self::plan(Transfer::Never);
    assert!(is_recipe(&built(&never, 1_000_000).asked(B, never.id, false)));
}

#[test]
fn what_was_sent_to_a_slave_is_not_fetched_from_it() {
    let plan = plan(Transfer::Always);
    let mut images = Images::default();
    images.learn(&plan);
    images.ready(A, ready(&plan, Origin::Sent, 1));
    assert!(is_recipe(&images.asked(B, plan.id, false)));
}

#[test]
fn a_slave_that_has_none_or_lies_or_goes_leaves_the_recipe() {
    let plan = plan(Transfer::Always);
    let id = plan.id;
    for said in [None, Some(Bytes::from_static(b"another memory"))] {
        let mut images = built(&plan, 1);
        assert!(matches!(images.asked(B, id, false), Answer::Fetch(A)));
        let answers = one(images.fetched(A, id, said));
        assert!(matches!(&answers[..], [(B, answer)] if is_recipe(answer)));
        assert!(images.kept.is_none());
    }
    let mut images = built(&plan, 1);
    assert!(matches!(images.asked(B, id, false), Answer::Fetch(A)));
    assert!(matches!(images.asked(C, id, false), Answer::Later));
    assert!(images.lost(C).is_empty());
    let answers = images.lost(A);
    let [(image, answers)] = &answers[..] else { panic!("one fetch has ended") };
    assert_eq!(*image, id);
    assert!(matches!(&answers[..], [(B, answer)] if is_recipe(answer)), "and not the one gone");
    assert_eq!(images.standings(id).count(), 0);
}

#[test]
fn how_an_image_came_is_remembered_when_it_is_told_again() {
    let plan = plan(Transfer::default());
    let mut images = built(&plan, 7);
    images.ready(A, ready(&plan, Origin::There, 7));
    let standing = images.standing(A, plan.id).expect("it is there");
    assert_eq!(standing.ready.origin, Origin::Built);
    images.gone(A, plan.id);
    assert!(images.standing(A, plan.id).is_none());
    // One that was looked up may have been on disk alone.
    images.ready(A, ready(&plan, Origin::There, 7));
    images.ready(A, ready(&plan, Origin::Kept, 7));
    let standing = images.standing(A, plan.id).expect("it is there");
    assert_eq!(standing.ready.origin, Origin::Kept);
}

#[test]
fn what_is_always_sent_is_built_by_one() {
    let plan = plan(Transfer::Always);
    let (mut images, id) = (Images::default(), plan.id);
    images.learn(&plan);
    assert!(is_recipe(&images.asked(A, id, false)));
    assert!(matches!(images.asked(B, id, false), Answer::Later));
    assert!(matches!(images.asked(C, id, false), Answer::Later));
    assert!(images.built(B, id).is_empty(), "it does not build it");
    let answers = images.ready(A, ready(&plan, Origin::Built, 1));
    assert!(matches!(&answers[..], [(B, Answer::Fetch(A)), (C, Answer::Later)]));
    assert_eq!(one(images.fetched(A, id, Some(SNAPSHOT.into()))).len(), 2);
}

#[test]
fn when_the_one_that_builds_it_fails_or_goes_the_next_does() {
    let plan = plan(Transfer::Always);
    let id = plan.id;
    for goes in [false, true] {
        let mut images = Images::default();
        images.learn(&plan);
        assert!(is_recipe(&images.asked(A, id, false)));
        assert!(matches!(images.asked(B, id, false), Answer::Later));
        assert!(matches!(images.asked(C, id, false), Answer::Later));
        let answers = match goes {
            true => images.lost(A).pop().expect("some wait").1,
            false => images.built(A, id),
        };
        let [(B, first), (C, Answer::Later)] = &answers[..] else { panic!("B, and C behind it") };
        assert!(is_recipe(first));
    }
}

#[test]
fn a_snapshot_that_is_refused_is_replaced_by_the_recipe_if_that_is_known() {
    let plan = plan(Transfer::Always);
    let mut images = built(&plan, 1);
    assert!(is_recipe(&images.asked(B, plan.id, true)));
    assert!(matches!(images.asked(B, plan.id, false), Answer::Fetch(A)));
    let looked_up = found(&plan);
    images.learn(&looked_up);
    assert!(is_recipe(&images.asked(B, plan.id, true)), "somebody else knows it");
    drop(plan);
    assert!(!images.relents(&looked_up, B), "it was told what the image is made of");
    assert!(is_nothing(&images.asked(B, looked_up.id, true)));
    assert!(!images.relents(&looked_up, B), "there is still nothing else");
    let again = self::plan(Transfer::Never);
    assert!(!images.relents(&again, C));
    assert!(images.relents(&again, B) && !images.relents(&again, B), "once");
}

#[test]
fn an_init_is_to_be_run_afresh_once_on_each_slave() {
    let plan = plan(Transfer::Never);
    assert!(!plan.begins_afresh(A));
    let afresh = Some(crate::image::Afresh::default());
    let Plan { id, module, init, key, transfer, .. } = &*plan;
    let known = Knowledge::Key(Key::new("index").expect("short"));
    let (module, init) = (module.clone(), Arc::clone(init));
    let (key, transfer) = (key.clone(), *transfer);
    let plan = Plan { id: *id, module, init, known, key, transfer, afresh };
    let told = [A, B, A, B].map(|slave| plan.begins_afresh(slave));
    assert_eq!(told, [true, true, false, false]);
}

#[test]
fn of_an_image_that_was_looked_up_every_slave_that_built_it_is_asked_once() {
    let plan = found(&plan(Transfer::Always));
    let (mut images, id) = (built(&plan, 1), plan.id);
    images.ready(B, ready(&plan, Origin::Built, 1));
    images.ready(SlaveId(4), ready(&plan, Origin::Sent, 1));
    let Answer::Fetch(first) = images.asked(C, id, false) else { panic!("two have it") };
    let answers = one(images.fetched(first, id, None));
    let &[(C, Answer::Fetch(second))] = &answers[..] else { panic!("the other has it") };
    assert_ne!(first, second);
    assert!(images.gone(second, id).is_empty(), "it still has to answer");
    let answers = one(images.fetched(second, id, None));
    assert!(matches!(&answers[..], [(C, answer)] if is_nothing(answer)));
    // Who asks later has the slaves asked again that still have it.
    assert!(matches!(images.asked(C, id, false), Answer::Fetch(again) if again == first));
    let told = images.lost(first);
    assert!(matches!(&one(told)[..], [(C, answer)] if is_nothing(answer)));
}

#[test]
fn a_slave_gives_one_snapshot_at_a_time_and_who_cannot_build_waits_for_its_turn() {
    let (one_image, other) = (plan(Transfer::Always), {
        let module = Module::new(&b"\0asm\x01\0\0\0"[..]);
        let recipe = Recipe::new(module, "other".into(), Payload::from(&b"\x90"[..]));
        found(&Plan::of(recipe, None, Transfer::Always))
    });
    let mut images = built(&one_image, 1);
    images.learn(&other);
    images.ready(A, ready(&other, Origin::Built, 1));
    assert!(matches!(images.asked(B, one_image.id, false), Answer::Fetch(A)));
    assert!(matches!(images.asked(B, other.id, false), Answer::Later));
    assert!(matches!(images.asked(C, other.id, false), Answer::Later));
    let told = images.fetched(A, one_image.id, Some(SNAPSHOT.into()));
    let [(_, first), (next, answers)] = &told[..] else { panic!("both go on") };
    assert!(matches!(&first[..], [(B, answer)] if is_snapshot(answer)));
    assert_eq!(*next, other.id);
    assert!(matches!(&answers[..], [(B, Answer::Fetch(A))]));
    assert_eq!(one(images.fetched(A, other.id, Some(SNAPSHOT.into()))).len(), 2);
}

#[test]
fn what_is_known_of_an_image_is_known_as_long_as_anybody_has_it() {
    let (first, second) = (plan(Transfer::Never), plan(Transfer::Never));
    let mut images = Images::default();
    images.learn(&first);
    images.learn(&second);
    drop(second);
    assert!(is_recipe(&images.asked(A, first.id, false)));
}
