;; trick: writes all of its memory a thousand times at once
;; expect: ok
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 64)
  (data (i32.const 16) "\00\c0")
  (data (i32.const 32) "{{1000 \00\00\00\00\00\00\40\00}}")
  (func (export "dpfw_alloc") (param i32) (result i32) (i32.const 20000))
  (func (export "dpfw:task") (param i32 i32) (result i64)
    (drop (call $fd_write (i32.const 1) (i32.const 32) (i32.const 1000) (i32.const 30000)))
    (i64.const 0x1000000002)))
