;; trick: waits until the end of time
;; expect: limit time
;; with: time=300
(module
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll_oneoff (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  ;; A clock, the monotonic one, for as long as there is.
  (data (i32.const 24) "\ff\ff\ff\ff\ff\ff\ff\7f")
  (data (i32.const 16) "\01")
  (func (export "dpfw_alloc") (param i32) (result i32) (i32.const 1024))
  (func (export "dpfw:task") (param i32 i32) (result i64)
    (drop (call $poll_oneoff (i32.const 0) (i32.const 128) (i32.const 1) (i32.const 200)))
    (i64.const 0)))
