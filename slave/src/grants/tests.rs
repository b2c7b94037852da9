//! Which rules apply to whom, and what follows from them.

use super::opened::Opened;
use super::*;
use crate::limits::Limits;
use crate::module::cache::Artifact;
use crate::module::code::CodeId;
use crate::module::facts::Facts;
use crate::module::image::ImageFacts;
use crate::module::load::Loaded;
use dpfw_protocol::error::Cause;
use dpfw_protocol::ids::ImageId;
use dpfw_protocol::message::Origin;

type Outcome = std::result::Result<(), Box<dyn std::error::Error>>;

const PLAIN: &str = r#"(module (func (export "f")))"#;
const CONNECTS: &str = r#"(module (import "dpfw_1" "connect" (func (param i32 i32) (result i32)))
    (func (export "dpfw:t")))"#;

fn hash(text: &str) -> ModuleHash {
    ModuleHash::of(text.as_bytes())
}

fn master(name: &str) -> PeerId {
    PeerId::new(name).expect("a name")
}

/// A module, or an image of it that came to be here like this.
fn loaded(text: &str, origin: Option<Origin>) -> Loaded {
    let facts = Facts::of(&wat::parse_str(text).expect("well formed"), &Limits::default());
    let image = origin.map(|origin| ImageFacts {
        id: ImageId::from_bytes([1; 32]),
        module: hash("module"),
        init: "init".into(),
        origin,
        hash: hash("snapshot"),
        snapshot: 0,
        memory: 0,
        init_us: 0,
    });
    let code = tempfile::tempfile().expect("a file");
    let artifact = Artifact { code, facts: facts.expect("valid"), warmed: true, image };
    Loaded::new(0, CodeId::Module(hash("module")), artifact)
}

fn granting(who: Who, change: impl FnOnce(&mut Rule)) -> Opened {
    let mut rule = Rule::of(who);
    change(&mut rule);
    Opened::new(Grants { rules: vec![rule] }).expect("it opens")
}

fn connects(rule: &mut Rule) {
    rule.connect.extend("db.example:80".parse::<Destination>());
}

#[test]
fn who_is_not_meant_has_nothing_at_all() -> Outcome {
    let plain = loaded(PLAIN, None);
    let (me, module) = (master("me"), hash("module"));
    for (who, is_meant) in [
        (Who::Everyone, true),
        (Who::Master(me.clone()), true),
        (Who::Master(master("other")), false),
        (Who::Module(module), true),
        (Who::Module(hash("another")), false),
    ] {
        let grants = granting(who.clone(), connects);
        assert_eq!(grants.of(&plain, module, &me)?.is_some(), is_meant, "{who:?}");
    }
    assert!(Opened::default().of(&plain, module, &me)?.is_none());
    Ok(())
}

#[test]
fn an_image_that_was_sent_is_its_senders_and_not_its_modules() -> Outcome {
    let of_module = granting(Who::Module(hash("module")), connects);
    let of_sender = granting(Who::Master(master("me")), connects);
    // What a master says that it is of is not believed.
    let said = hash("module");
    for (origin, is_meant) in [(Origin::Built, true), (Origin::Kept, true), (Origin::Sent, false)] {
        let image = loaded(PLAIN, Some(origin));
        let found = of_module.of(&image, said, &master("me"))?;
        assert_eq!(found.is_some(), is_meant, "{origin:?}");
        assert!(of_sender.of(&image, said, &master("me"))?.is_some(), "{origin:?}");
    }
    let other = granting(Who::Module(hash("another")), connects);
    let built = loaded(PLAIN, Some(Origin::Built));
    assert!(other.of(&built, hash("another"), &master("me"))?.is_none(), "it is of another");
    Ok(())
}

#[test]
fn f38_what_connects_is_refused_by_name_unless_it_may() -> Outcome {
    let (module, me) = (loaded(CONNECTS, None), master("me"));
    let env = granting(Who::Everyone, |rule| rule.env.extend("A=1".parse::<Variable>()));
    for grants in [Opened::default(), env] {
        let refused = grants.of(&module, hash("module"), &me).expect_err("nothing is granted");
        let reason = "it imports `dpfw_1.connect`, which is not granted".to_owned();
        assert_eq!(refused, Cause::Rejected { reason });
    }
    let grants = granting(Who::Everyone, connects);
    let grant = grants.of(&module, hash("module"), &me)?.ok_or("it is granted")?;
    assert!(grant.may_connect("DB.example", 80) && !grant.may_connect("db.example", 81));
    assert!(!grant.may_connect("db.example.org", 80) && !grant.may_connect("example", 80));
    Ok(())
}

#[test]
fn an_init_has_fixed_clocks_of_rules_that_are_not_one_masters() {
    let fixed = |rule: &mut Rule| {
        (rule.clocks, rule.randomness) = (Clocks::Fixed(5), Randomness::Seed(5));
        connects(rule);
    };
    let everyone = granting(Who::Everyone, fixed).of_init(hash("module"));
    let grant = everyone.expect("they are fixed for all");
    assert!(grant.clock.is_some() && grant.seed == Some(5) && grant.connect.is_empty());
    assert!(granting(Who::Module(hash("module")), fixed).of_init(hash("module")).is_some());
    assert!(granting(Who::Master(master("me")), fixed).of_init(hash("module")).is_none());
    assert!(granting(Who::Everyone, connects).of_init(hash("module")).is_none());
}

#[test]
fn what_is_fixed_follows_from_itself_alone() {
    let bytes = |seed| {
        let (mut seeded, mut all) = (Seeded::of(seed), [0u8; 100]);
        all.chunks_mut(7).for_each(|piece| seeded.fill(piece));
        all
    };
    assert_eq!(bytes(1), bytes(1));
    assert_ne!(bytes(1), bytes(2));
    let clock = Clock::at(10);
    let readings = |clock: &Clock| (clock.wall(), clock.monotonic(), clock.wall());
    let first = readings(&clock);
    assert_eq!(
        (first.0.as_nanos(), first.1, first.2.as_nanos()),
        (10_000_000_000, 1000, 10_000_002_000)
    );
    assert_eq!(readings(&clock.afresh()), first);
    assert_ne!(readings(&clock), first);
}

#[test]
fn texts_that_are_no_destination_or_variable_are_refused() {
    for bad in [
        "",
        "host",
        "host:",
        ":80",
        "host:0",
        "host:65536",
        "a b:80",
        "::1:80",
        "[::1]",
        "[a]:80",
        "a\u{1b}:1",
    ] {
        assert!(bad.parse::<Destination>().is_err(), "{bad:?}");
    }
    assert_eq!(destination("Host:80"), Some(("host".into(), 80)));
    assert_eq!(destination("host:*"), None, "a guest names one port");
    for bad in ["", "=", "A\0"] {
        assert!(bad.parse::<Variable>().is_err(), "{bad:?}");
    }
}
