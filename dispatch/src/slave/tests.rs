use super::*;

const US: u64 = 1000;

fn sent(cost: u64) -> Sent {
    Sent {
        kind: KindId(0),
        task: None,
        cost,
        stage: Stage::Sent,
        moves: Moves::Yes,
        sight: Sight::Agreed,
        company: Company::Never,
        at: Time::ZERO,
        begun_ms: 0,
    }
}

fn slave(slots: u32, costs: &[u64]) -> (Slave, Config) {
    let (mut slave, config) = (Slave::new(slots, 8192, Time::ZERO), Config::default());
    for cost in costs {
        slave.begin(sent(*cost), &config, Time::ZERO);
    }
    slave.check(SlaveId(0), &config);
    (slave, config)
}

/// How many of that cost the slave takes before it is full.
fn depth(slots: u32, cost: u64) -> usize {
    let (mut slave, config) = slave(slots, &[]);
    loop {
        match slave.room(&config).0 {
            Room::Free => {}
            Room::Ahead if !is_long(cost, &config) => {}
            _ => return slave.outs.len(),
        }
        slave.begin(sent(cost), &config, Time::ZERO);
    }
}

#[test]
fn short_tasks_lie_ready_for_two_milliseconds() {
    assert_eq!(depth(1, 1000 * US), 1 + 2);
    assert_eq!(depth(4, 100 * US), 4 * (1 + 20));
    assert_eq!(depth(2, 10 * US), 2 * (1 + 200));
}

#[test]
fn tasks_of_unknown_cost_lie_ready_once_for_each_slot() {
    assert_eq!(depth(4, nanos(Config::default().queue_ahead)), 8);
}

#[test]
fn long_tasks_never_lie_ready() {
    assert_eq!(depth(4, 2001 * US), 4);
}

#[test]
fn however_short_they_are_there_is_a_cap() {
    assert_eq!(depth(2, 1), 2 * (1 + 512));
    assert_eq!(depth(100, 1), 8192);
}

#[test]
fn a_slot_with_a_long_task_does_not_count_for_what_lies_ahead() {
    let second = 1_000_000 * US;
    let (busy, config) = slave(2, &[second, second]);
    assert_eq!(busy.room(&config).0, Room::Full);
    let (half, config) = slave(2, &[second, 1000 * US]);
    assert_eq!(half.room(&config).0, Room::Ahead);
    let (half, config) = slave(2, &[second, 1000 * US, 1000 * US, 1000 * US]);
    assert_eq!(half.room(&config).0, Room::Full);
}

#[test]
fn wild_numbers_do_no_harm() {
    let (mut wild, config) = slave(u32::MAX, &[u64::MAX, u64::MAX, 0]);
    assert_eq!(wild.room(&config).0, Room::Free);
    wild.slots = 0;
    assert_eq!((wild.room(&config).0, wild.is_able()), (Room::Full, false));
    wild.slots = 1;
    assert_eq!(wild.room(&config).0, Room::Full);
}
