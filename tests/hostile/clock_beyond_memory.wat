;; trick: has the time written where its memory ends
;; expect: abi 8 bytes at 65536 are outside its memory
(module
  (import "wasi_snapshot_preview1" "clock_time_get" (func $clock_time_get (param i32 i64 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "dpfw_alloc") (param i32) (result i32) (i32.const 1024))
  (func (export "dpfw:task") (param i32 i32) (result i64)
    (drop (call $clock_time_get (i32.const 0) (i64.const 0) (i32.const 65536)))
    (i64.const 0)))
