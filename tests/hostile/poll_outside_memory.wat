;; trick: subscribes to what is not in its memory
;; expect: abi 3072 bytes at 4294967295 are outside its memory
(module
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll_oneoff (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "dpfw_alloc") (param i32) (result i32) (i32.const 1024))
  (func (export "dpfw:task") (param i32 i32) (result i64)
    (drop (call $poll_oneoff (i32.const -1) (i32.const 0) (i32.const 64) (i32.const 200)))
    (i64.const 0)))
