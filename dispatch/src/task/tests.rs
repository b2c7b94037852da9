use super::*;

fn spec() -> TaskSpec {
    TaskSpec {
        kind: KindId(0),
        flags: TaskFlags::default(),
        deadline: None,
        placement: Placement::Anywhere,
        calls: 1,
    }
}

fn ids(list: &List, tasks: &Tasks) -> Vec<u64> {
    list.iter(tasks).map(|task| tasks[task].id.0).collect()
}

/// The table grows by doubling, and so does the map, whose buckets are at most 7/8 full:
/// at a million tasks that is 1.05 places and 2.1 buckets for each.
#[test]
fn f62_a_queued_task_takes_less_than_112_bytes_in_the_policy() {
    let place = size_of::<Task>();
    let bucket = size_of::<(TaskId, Ref)>() + 1;
    assert_eq!((place, bucket), (72, 17));
    let million = 1_000_000.0;
    let bytes = f64::from(1 << 20) * place as f64 + f64::from(1 << 21) * bucket as f64;
    assert!(bytes / million < 112.0, "{}", bytes / million);
}

#[test]
fn a_task_leaves_the_middle_of_a_list_and_its_place_is_used_again() {
    let (mut tasks, mut list) = (Tasks::default(), List::default());
    let refs: Vec<_> = (0..4).filter_map(|n| tasks.insert(TaskId(n), spec())).collect();
    refs.iter().for_each(|task| list.push_back(&mut tasks, *task));
    list.unlink(&mut tasks, refs[1]);
    tasks.remove(refs[1]);
    assert_eq!((ids(&list, &tasks), list.len(), tasks.len()), (vec![0, 2, 3], 3, 3));
    let again = tasks.insert(TaskId(9), spec());
    assert_eq!(again, Some(refs[1]));
    list.push_front(&mut tasks, refs[1]);
    assert_eq!(ids(&list, &tasks), [9, 0, 2, 3]);
    list.unlink(&mut tasks, refs[3]);
    list.unlink(&mut tasks, refs[1]);
    assert_eq!(ids(&list, &tasks), [0, 2]);
    assert_eq!(list.pop(&mut tasks), Some(refs[0]));
    assert_eq!(list.pop(&mut tasks), Some(refs[2]));
    assert_eq!((list.pop(&mut tasks), list.is_empty()), (None, true));
}

#[test]
fn cancelled_tasks_do_not_pile_up() {
    let (mut tasks, mut list) = (Tasks::default(), List::default());
    for n in 0..10_000 {
        if let Some(task) = tasks.insert(TaskId(n), spec()) {
            list.push_back(&mut tasks, task);
            list.unlink(&mut tasks, task);
            tasks.remove(task);
        }
    }
    assert_eq!((tasks.places.len(), tasks.len()), (1, 0));
}
