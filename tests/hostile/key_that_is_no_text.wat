;; trick: asks the store for keys that are no text, or too long, or nothing
;; expect: ok
(module
  (import "dpfw_1" "store_put" (func $store_put (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "\00\c0")
  (data (i32.const 32) "\ff\fe\ed\a0\80")
  (func (export "dpfw_alloc") (param i32) (result i32) (i32.const 1024))
  (func (export "dpfw:task") (param i32 i32) (result i64)
    (if (i32.ne (call $store_put (i32.const 32) (i32.const 5) (i32.const 0) (i32.const 1)) (i32.const 2)) (then unreachable))
    (if (i32.ne (call $store_put (i32.const 64) (i32.const 60000) (i32.const 0) (i32.const 1)) (i32.const 2)) (then unreachable))
    (i64.const 0x1000000002)))
