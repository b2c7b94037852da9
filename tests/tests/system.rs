//! The tests of the whole system: masters and slaves as users have them.
//!
//! A test is named after the row that it shows, where it shows one: `d` for what the seeds
//! offer, `f` for what is survived, `r` for logs.

mod system {
    pub(crate) mod by_hand;
    pub(crate) mod lies;
    pub(crate) mod resident_caller;
    pub(crate) mod scene;
    pub(crate) mod stage;

    mod audit;
    mod bad_calls;
    mod bad_guests;
    mod bad_memory;
    mod bad_modules;
    mod bad_network;
    mod batches;
    mod cache;
    mod confined;
    mod corpora;
    mod crowds;
    mod describe;
    mod dispatch;
    mod durable;
    mod dying_slaves;
    mod errors_page;
    mod figures;
    mod foreign_keys;
    mod fresh;
    mod get_or_init;
    mod get_or_init_ends;
    mod grants;
    mod grants_connect;
    mod grants_files;
    mod guests;
    mod handles;
    mod hostile;
    mod image_lies;
    mod image_names;
    mod images;
    mod isolation;
    mod links;
    mod logs;
    mod losses;
    mod lying_masters;
    mod lying_slaves;
    mod map;
    mod near;
    mod others;
    mod partitions;
    mod payloads;
    mod pipeline;
    mod plain;
    mod processes;
    mod program_ends;
    mod program_lies;
    mod program_streams;
    mod programs;
    mod random_signals;
    mod reconcile;
    mod recovery;
    mod remains;
    mod reserve;
    mod resident_lies;
    mod residents;
    mod residents_at_slave;
    mod residents_durable;
    mod residents_ends;
    mod residents_lost;
    mod residents_many;
    mod residents_model;
    mod residents_moving;
    mod residents_order;
    mod residents_turns;
    mod sandboxes;
    mod security;
    mod store;
    mod store_terms;
    mod store_watches;
    mod storms;
    mod stragglers;
    mod supersede;
    mod task_limits;
    mod unruly_masters;
    mod variants;
    mod waiting;
}
