use super::*;
use dpfw_protocol::image::Recipe;
use dpfw_protocol::message::Origin;
use dpfw_protocol::module::Module;

const A: SlaveId = SlaveId(1);
const B: SlaveId = SlaveId(2);
const C: SlaveId = SlaveId(3);
const SNAPSHOT: &[u8] = b"the memory";

fn plan(transfer: Transfer) -> Arc<Plan> {
    let module = Module::new(&b"\0asm\x01\0\0\0"[..]);
    let recipe = Recipe::new(module, "build".into(), Payload::from(&b"\x90"[..]));
    Arc::new(Plan { recipe, key: None, transfer })
}

fn ready(plan: &Plan, origin: Origin, init_us: u64) -> ImageReady {
    let (hash, snapshot) = (ModuleHash::of(SNAPSHOT), SNAPSHOT.len() as u64);
    let image = plan.recipe.id;
    ImageReady { image, origin, hash, snapshot, memory: 1 << 20, init_us, took_us: init_us }
}

/// Images of which the first slave has built this one.
fn built(plan: &Arc<Plan>, init_us: u64) -> Images {
    let mut images = Images::default();
    images.learn(plan);
    assert!(images.ready(A, ready(plan, Origin::Built, init_us)).is_empty());
    images
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
    let (mut images, id) = (Images::default(), plan.recipe.id);
    assert!(is_nothing(&images.asked(A, id)));
    images.learn(&plan);
    assert!(is_recipe(&images.asked(A, id)));
    drop(plan);
    assert!(is_nothing(&images.asked(A, id)));
}

#[test]
fn a_snapshot_is_fetched_once_for_all_who_ask_meanwhile_and_kept_for_those_who_come() {
    let plan = plan(Transfer::Always);
    let (mut images, id) = (built(&plan, 0), plan.recipe.id);
    assert!(matches!(images.asked(B, id), Answer::Fetch(A)));
    assert!(matches!(images.asked(C, id), Answer::Later));
    assert!(images.fetched(B, id, Some(SNAPSHOT.into())).is_empty(), "it was not asked");
    let answers = images.fetched(A, id, Some(SNAPSHOT.into()));
    assert_eq!(answers.iter().map(|(slave, _)| *slave).collect::<Vec<_>>(), [B, C]);
    assert!(answers.iter().all(|(_, answer)| is_snapshot(answer)));
    assert!(is_snapshot(&images.asked(SlaveId(4), id)));
    images.sweep();
    assert!(images.kept.is_some());
    drop(plan);
    images.sweep();
    assert!(images.kept.is_none(), "nobody has the image any more");
}

#[test]
fn it_is_sent_where_that_is_quicker_than_the_init_was() {
    let plan = plan(Transfer::WhenQuicker);
    let asked = |init_us| built(&plan, init_us).asked(B, plan.recipe.id);
    // 10 bytes twice at 100 MB/s take 0.2 us.
    assert!(matches!(asked(1), Answer::Fetch(A)));
    assert!(is_recipe(&asked(0)));
    let never = self::plan(Transfer::Never);
    assert!(is_recipe(&built(&never, 1_000_000).asked(B, never.recipe.id)));
}

#[test]
fn what_was_sent_to_a_slave_is_not_fetched_from_it() {
    let plan = plan(Transfer::Always);
    let mut images = Images::default();
    images.learn(&plan);
    images.ready(A, ready(&plan, Origin::Sent, 1));
    assert!(is_recipe(&images.asked(B, plan.recipe.id)));
}

#[test]
fn a_slave_that_has_none_or_lies_or_goes_leaves_the_recipe() {
    let plan = plan(Transfer::Always);
    let id = plan.recipe.id;
    for said in [None, Some(Bytes::from_static(b"another memory"))] {
        let mut images = built(&plan, 1);
        assert!(matches!(images.asked(B, id), Answer::Fetch(A)));
        let answers = images.fetched(A, id, said);
        assert!(matches!(&answers[..], [(B, answer)] if is_recipe(answer)));
        assert!(images.kept.is_none());
    }
    let mut images = built(&plan, 1);
    assert!(matches!(images.asked(B, id), Answer::Fetch(A)));
    assert!(matches!(images.asked(C, id), Answer::Later));
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
    let standing = images.standing(A, plan.recipe.id).expect("it is there");
    assert_eq!(standing.ready.origin, Origin::Built);
    images.gone(A, plan.recipe.id);
    assert!(images.standing(A, plan.recipe.id).is_none());
}

#[test]
fn what_is_always_sent_is_built_by_one() {
    let plan = plan(Transfer::Always);
    let (mut images, id) = (Images::default(), plan.recipe.id);
    images.learn(&plan);
    assert!(is_recipe(&images.asked(A, id)));
    assert!(matches!(images.asked(B, id), Answer::Later));
    assert!(matches!(images.asked(C, id), Answer::Later));
    assert!(images.built(B, id).is_empty(), "it does not build it");
    let answers = images.ready(A, ready(&plan, Origin::Built, 1));
    assert!(matches!(&answers[..], [(B, Answer::Fetch(A)), (C, Answer::Later)]));
    assert_eq!(images.fetched(A, id, Some(SNAPSHOT.into())).len(), 2);
}

#[test]
fn when_the_one_that_builds_it_fails_or_goes_the_next_does() {
    let plan = plan(Transfer::Always);
    let id = plan.recipe.id;
    for goes in [false, true] {
        let mut images = Images::default();
        images.learn(&plan);
        assert!(is_recipe(&images.asked(A, id)));
        assert!(matches!(images.asked(B, id), Answer::Later));
        assert!(matches!(images.asked(C, id), Answer::Later));
        let answers = match goes {
            true => images.lost(A).pop().expect("some wait").1,
            false => images.built(A, id),
        };
        let [(B, first), (C, Answer::Later)] = &answers[..] else { panic!("B, and C behind it") };
        assert!(is_recipe(first));
    }
}
