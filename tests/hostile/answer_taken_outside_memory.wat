;; trick: takes the answer of the store beyond its memory
;; expect: abi outside its memory
(module
  (import "dpfw_1" "store_put" (func $store_put (param i32 i32 i32 i32) (result i32)))
  (import "dpfw_1" "reply_take" (func $reply_take (param i32)))
  (memory (export "memory") 1)
  (func (export "dpfw_alloc") (param i32) (result i32) (i32.const 1024))
  (func (export "dpfw:task") (param i32 i32) (result i64)
    (drop (call $store_put (i32.const 0) (i32.const 2000) (i32.const 1) (i32.const 1)))
    (call $reply_take (i32.const 65535))
    (i64.const 0)))
