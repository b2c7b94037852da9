;; trick: reads a clock that there is not
;; expect: ok
(module
  (import "wasi_snapshot_preview1" "clock_time_get" (func $clock_time_get (param i32 i64 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "\00\c0")
  (func (export "dpfw_alloc") (param i32) (result i32) (i32.const 1024))
  (func (export "dpfw:task") (param i32 i32) (result i64)
    (if (i32.eqz (call $clock_time_get (i32.const 77) (i64.const -1) (i32.const 64))) (then unreachable))
    (i64.const 0x1000000002)))
