;; trick: takes answers that it has not asked for, or has taken already
;; expect: ok
(module
  (import "dpfw_1" "reply_take" (func $reply_take (param i32)))
  (import "dpfw_1" "reply_version" (func $reply_version (result i64)))
  (memory (export "memory") 1)
  (data (i32.const 16) "\00\c0")
  (func (export "dpfw_alloc") (param i32) (result i32) (i32.const 1024))
  (func (export "dpfw:task") (param i32 i32) (result i64)
    (call $reply_take (i32.const 64))
    (call $reply_take (i32.const 65536))
    (drop (call $reply_version))
    (i64.const 0x1000000002)))
