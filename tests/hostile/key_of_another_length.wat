;; trick: asks the store for a key that is not in its memory
;; expect: abi outside its memory
(module
  (import "dpfw_1" "store_get" (func $store_get (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "dpfw_alloc") (param i32) (result i32) (i32.const 1024))
  (func (export "dpfw:task") (param i32 i32) (result i64)
    (drop (call $store_get (i32.const 65535) (i32.const 2)))
    (i64.const 0)))
