;; trick: subscribes to more than there is room for
;; expect: ok
(module
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll_oneoff (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "\00\c0")
  (func (export "dpfw_alloc") (param i32) (result i32) (i32.const 1024))
  (func (export "dpfw:task") (param i32 i32) (result i64)
    (if (i32.eqz (call $poll_oneoff (i32.const 0) (i32.const 0) (i32.const -1) (i32.const 200))) (then unreachable))
    (if (i32.eqz (call $poll_oneoff (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 200))) (then unreachable))
    (i64.const 0x1000000002)))
