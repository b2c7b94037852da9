;; trick: logs lone surrogates, overlong forms and escapes at a level that there is not
;; expect: ok
(module
  (import "dpfw_1" "log" (func $log (param i32 i32 i32 i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "\00\c0")
  (data (i32.const 32) "\ed\a0\80\c0\80\f8\88\1b]0;title\07\u{202e}")
  (func (export "dpfw_alloc") (param i32) (result i32) (i32.const 1024))
  (func (export "dpfw:task") (param i32 i32) (result i64)
    (call $log (i32.const 255) (i32.const 32) (i32.const 19) (i32.const 32) (i32.const 19))
    (i64.const 0x1000000002)))
