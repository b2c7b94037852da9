//! WASI programs for the tests of `exec`.

/// Writes its name and its arguments. With a last argument that begins with `!` it does so
/// to stderr and exits with status 3; with `@` it traps, with `~` it never ends.
const SAY: &str = r#"(module
    (import "wasi_snapshot_preview1" "args_sizes_get"
        (func $sizes (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "args_get" (func $args (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write"
        (func $write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (memory (export "memory") 8)
    ;; The number of arguments at 0, their bytes at 4; what is written: its place at 16, its
    ;; length at 20. Pointers from 1024, texts from 65536.
    (func (export "_start") (local $at i32) (local $end i32) (local $last i32)
        (drop (call $sizes (i32.const 0) (i32.const 4)))
        (drop (call $args (i32.const 1024) (i32.const 65536)))
        (local.set $end (i32.add (i32.const 65536) (i32.load (i32.const 4))))
        (local.set $last (i32.load8_u (i32.load
            (i32.add (i32.const 1020) (i32.mul (i32.const 4) (i32.load (i32.const 0)))))))
        ;; Between arguments are NULs.
        (local.set $at (i32.const 65536))
        (loop $more
            (if (i32.eqz (i32.load8_u (local.get $at)))
                (then (i32.store8 (local.get $at) (i32.const 32))))
            (local.set $at (i32.add (local.get $at) (i32.const 1)))
            (br_if $more (i32.lt_u (local.get $at) (local.get $end))))
        (i32.store8 (i32.sub (local.get $end) (i32.const 1)) (i32.const 10))
        (i32.store (i32.const 16) (i32.const 65536))
        (i32.store (i32.const 20) (i32.load (i32.const 4)))
        (if (i32.eq (local.get $last) (i32.const 64)) (then unreachable))
        (if (i32.eq (local.get $last) (i32.const 126)) (then (loop $spin (br $spin))))
        (if (i32.eq (local.get $last) (i32.const 33)) (then
            (drop (call $write (i32.const 2) (i32.const 16) (i32.const 1) (i32.const 24)))
            (call $exit (i32.const 3))))
        (drop (call $write (i32.const 1) (i32.const 16) (i32.const 1) (i32.const 24)))))"#;

/// Writes what it reads.
const CAT: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_read"
        (func $read (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write"
        (func $write (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 2)
    (func (export "_start") (local $left i32) (local $at i32)
        (loop $more
            (i32.store (i32.const 0) (i32.const 65536))
            (i32.store (i32.const 4) (i32.const 65536))
            (if (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8))
                (then unreachable))
            (local.set $left (i32.load (i32.const 8)))
            (local.set $at (i32.const 65536))
            (if (local.get $left) (then
                (loop $rest
                    (i32.store (i32.const 0) (local.get $at))
                    (i32.store (i32.const 4) (local.get $left))
                    (if (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))
                        (then unreachable))
                    (local.set $at (i32.add (local.get $at) (i32.load (i32.const 8))))
                    (local.set $left (i32.sub (local.get $left) (i32.load (i32.const 8))))
                    (br_if $rest (local.get $left)))
                (br $more))))))"#;

/// Writes its environment: NAME=VALUE, each ended by a NUL.
const ENV: &str = r#"(module
    (import "wasi_snapshot_preview1" "environ_sizes_get"
        (func $sizes (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "environ_get" (func $env (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write"
        (func $write (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 2)
    (func (export "_start")
        (drop (call $sizes (i32.const 0) (i32.const 4)))
        (drop (call $env (i32.const 1024) (i32.const 4096)))
        (i32.store (i32.const 0) (i32.const 4096))
        (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"#;

/// Writes bytes that are no text, whatever it is told.
const BYTES: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_write"
        (func $write (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "\10\00\00\00\04\00\00\00")
    (data (i32.const 16) "\00\ff\fe\0a")
    (func (export "_start")
        (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"#;

/// The files.
pub(crate) const FILES: [(&str, &str); 4] =
    [("say.wat", SAY), ("cat.wat", CAT), ("env.wat", ENV), ("bytes.wat", BYTES)];
