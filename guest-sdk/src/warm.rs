//! What is set up before the first task.
//!
//! Owns: the panic hook, the logger, the heap's first size. Does not: draw randomness, or
//! read clocks or the environment: all tasks start from the memory that this leaves.
//! Invariant: it happens once in a memory, whoever asks first.

use std::cell::Cell;
use std::hint::black_box;
use std::panic::PanicHookInfo;

/// A heap of this size is there before the first task: growing memory costs a task more
/// than all else that it does (design.md, decision 2), and most need less than this.
const HEAP: usize = 1 << 20;

thread_local! {
    static WARM: Cell<bool> = const { Cell::new(false) };
}

/// Sets everything up, unless that was done.
pub(crate) fn up() {
    if WARM.replace(true) {
        return;
    }
    std::panic::set_hook(Box::new(on_panic));
    if log::set_logger(&TO_MASTER).is_ok() {
        log::set_max_level(log::LevelFilter::Debug);
    }
    grow_heap();
}

/// Grows the heap and gives the room back to the allocator, which keeps it: linear memory
/// never shrinks.
fn grow_heap() {
    drop(black_box(Vec::<u8>::with_capacity(HEAP)));
}

fn on_panic(info: &PanicHookInfo<'_>) {
    let text = info.payload_as_str().unwrap_or("a panic without a message");
    let (file, line, column) =
        info.location().map_or(("", 0, 0), |at| (at.file(), at.line(), at.column()));
    crate::abi::panic(text, file, line, column);
}

static TO_MASTER: ToMaster = ToMaster;

/// The logger of a module: lines go to the slave, which passes them on.
struct ToMaster;

impl log::Log for ToMaster {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &log::Record<'_>) {
        let level = record.level() as i32;
        match record.args().as_str() {
            Some(text) => crate::abi::log(level, record.target(), text),
            None => crate::abi::log(level, record.target(), &record.args().to_string()),
        }
    }

    fn flush(&self) {}
}
