;; trick: tries whatever file descriptors there may be
;; expect: ok
(module
  (import "wasi_snapshot_preview1" "fd_pread" (func $fd_pread (param i32 i32 i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_open" (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "sock_accept" (func $sock_accept (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_prestat_get" (func $fd_prestat_get (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "\00\c0")
  (func (export "dpfw_alloc") (param i32) (result i32) (i32.const 1024))
  (func (export "dpfw:task") (param i32 i32) (result i64)
    (local.set 0 (i32.const -10))
    (loop $more
      (if (i32.eqz (call $fd_prestat_get (local.get 0) (i32.const 64))) (then unreachable))
      (if (i32.eqz (call $fd_pread (local.get 0) (i32.const 64) (i32.const 1) (i64.const 0) (i32.const 64))) (then unreachable))
      (if (i32.eqz (call $path_open (local.get 0) (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 0) (i64.const -1) (i64.const -1) (i32.const 0) (i32.const 64))) (then unreachable))
      (if (i32.eqz (call $sock_accept (local.get 0) (i32.const 0) (i32.const 64))) (then unreachable))
      (local.set 0 (i32.add (local.get 0) (i32.const 1)))
      (br_if $more (i32.lt_s (local.get 0) (i32.const 100))))
    (i64.const 0x1000000002)))
