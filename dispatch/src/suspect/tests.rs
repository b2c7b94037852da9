use super::*;
use crate::effect::Effect;
use crate::event::Event;
use crate::testing::{Bench, MS, accepted, failures, placed, sent, spec};
use crate::{Again, Placement};

#[test]
fn a_suspect_waits_for_an_empty_slave_and_runs_alone() {
    let mut bench = Bench::new(&[1, 4]);
    bench.measure(9 * MS);
    bench.submit_many(2);
    let effects = bench.lose(1, Loss::Died);
    assert!(sent(&effects).is_empty(), "{effects:?}");
    assert_eq!(sent(&bench.submit(spec())), [], "slave 2 is being emptied");
    let effects = bench.done(2, 1, 9 * MS);
    assert_eq!(sent(&effects), [(2, 3, 2)]);
    assert_eq!(sent(&bench.submit(placed(Placement::On(SlaveId(2))))), []);
    let effects = bench.done(2, 2, 9 * MS);
    assert_eq!(accepted(&effects), [3]);
    assert_eq!(sent(&effects).len(), 2);
}

#[test]
fn three_deaths_two_of_them_alone_make_poison() {
    let mut bench = Bench::new(&[4]);
    bench.submit(spec());
    for slave in 1..=3 {
        let failed = failures(&bench.lose(slave, Loss::Died));
        match slave {
            3 => assert_eq!(failed, [(1, Cause::Poison { deaths: 3 })]),
            _ => assert_eq!(failed, []),
        }
        bench.join(slave + 1, 4);
    }
}

#[test]
fn poison_does_not_take_bystanders_with_it() {
    let mut bench = Bench::new(&[4]);
    bench.submit_many(4);
    bench.lose(1, Loss::Died);
    // Task 3 is the poison: whoever runs it dies.
    let mut slave = 1;
    let mut done = Vec::new();
    let mut out = Vec::new();
    let mut poison = Vec::new();
    while done.len() + poison.len() < 4 {
        if let Some((at, _, attempt)) = out.pop() {
            let effects = bench.done(at, attempt, MS);
            done.extend(accepted(&effects));
            out.extend(sent(&effects));
        } else {
            slave += 1;
            out.extend(sent(&bench.join(slave, 4)));
        }
        if out.iter().any(|(_, task, _)| *task == 3) {
            assert_eq!(out.len(), 1, "the suspect is not alone");
            out.clear();
            poison.extend(failures(&bench.lose(slave, Loss::Died)));
        }
    }
    done.sort_unstable();
    assert_eq!(done, [1, 2, 4]);
    assert_eq!(poison, [(3, Cause::Poison { deaths: 3 })]);
}

#[test]
fn lost_links_and_drains_make_nobody_suspect() {
    let mut bench = Bench::new(&[4]);
    bench.submit_many(2);
    bench.lose(1, Loss::Unreachable);
    assert_eq!(sent(&bench.join(2, 4)).len(), 2);
    bench.handle(Event::SlaveDraining { slave: SlaveId(2) });
    bench.lose(2, Loss::Left);
    assert_eq!(sent(&bench.join(3, 4)).len(), 2);
}

#[test]
fn what_had_not_started_is_no_suspect() {
    let mut bench = Bench::new(&[1]);
    bench.submit_many(2);
    let effects = bench.lose(1, Loss::Died);
    let why = |effect: &Effect| matches!(effect, Effect::Retried { task, why: Again::LostUnstarted(_), .. } if task.0 == 2);
    assert!(effects.iter().any(why));
    // The suspect gets the empty slave first, alone; the other one waits for a second.
    assert_eq!(sent(&bench.join(2, 4)), [(2, 1, 1)]);
    assert_eq!(sent(&bench.join(3, 4)), [(3, 2, 1)]);
}

#[test]
fn nobody_hides_behind_reports_that_never_come() {
    let mut record = Record::default();
    let begun: Vec<_> = (0..8).map(|_| record.began(Began::Unstarted, Loss::Died)).collect();
    assert!(begun[..7].iter().all(|began| *began == Began::Unstarted));
    assert_eq!(begun[7], Began::Started);
    let mut record = Record::default();
    assert!((0..99).all(|_| record.began(Began::Unstarted, Loss::Unreachable) == Began::Unstarted));
}

#[test]
fn tries_that_are_used_up_by_other_losses_are_no_poison() {
    let (config, mut record) = (Config::default(), Record::default());
    assert_eq!(record.lose(&config, Loss::Died, false), None);
    assert_eq!(record.lose(&config, Loss::Unreachable, true), None);
    let cause = record.lose(&config, Loss::Died, true);
    assert_eq!(cause, Some(Cause::AttemptsExhausted { attempts: 3 }));
}

#[test]
fn pinned_tasks_do_not_starve_a_suspect() {
    let mut bench = Bench::new(&[1]);
    bench.measure(9 * MS);
    bench.submit(spec());
    bench.join(2, 1);
    let on = || placed(Placement::On(SlaveId(2)));
    (0..40).for_each(|_| drop(bench.submit(on())));
    bench.lose(1, Loss::Died);
    let ran = (1..20).find(|attempt| {
        let effects = bench.done(2, *attempt, 9 * MS);
        sent(&effects).iter().any(|(_, task, _)| *task == 2)
    });
    assert!(ran.is_some(), "the suspect never ran");
}

#[test]
fn pinned_tasks_are_held_back_for_an_emptied_slave_only_so_long() {
    let mut bench = Bench::new(&[1, 2]);
    bench.measure(9 * MS);
    bench.submit_many(2);
    bench.lose(1, Loss::Died);
    assert_eq!(sent(&bench.submit(placed(Placement::On(SlaveId(2))))), []);
    let patience = bench.core.config.pinned_patience;
    assert_eq!(sent(&bench.wait(patience)).len(), 1);
}

#[test]
fn a_slave_is_not_kept_for_a_suspect_that_is_gone() {
    let mut bench = Bench::new(&[1, 2]);
    bench.measure(9 * MS);
    bench.submit_many(2);
    bench.lose(1, Loss::Died);
    assert_eq!(sent(&bench.submit(spec())), []);
    assert_eq!(sent(&bench.cancel(3)), [(2, 4, 2)]);
}
