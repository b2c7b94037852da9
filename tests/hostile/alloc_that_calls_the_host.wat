;; trick: asks the store and takes an answer while it gives room
;; expect: ok
(module
  (import "dpfw_1" "store_get" (func $store_get (param i32 i32) (result i32)))
  (import "dpfw_1" "reply_take" (func $reply_take (param i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "\00\c0")
  (func (export "dpfw_alloc") (param $len i32) (result i32)
    (drop (call $store_get (i32.const 0) (i32.const 4)))
    (call $reply_take (i32.const 2048))
    (i32.const 4096))
  (func (export "dpfw:task") (param i32 i32) (result i64)
    
    (i64.const 0x1000000002)))
