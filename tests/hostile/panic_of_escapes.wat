;; trick: panics with escapes in its message and in the name of its file
;; expect: panic
(module
  (import "dpfw_1" "panic" (func $panic (param i32 i32 i32 i32 i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 32) "\1b[2J\ed\a0\80\07")
  (func (export "dpfw_alloc") (param i32) (result i32) (i32.const 1024))
  (func (export "dpfw:task") (param i32 i32) (result i64)
    (call $panic (i32.const 32) (i32.const 8) (i32.const 32) (i32.const 8) (i32.const -1) (i32.const -1))
    unreachable
    (i64.const 0)))
