;; trick: recurses to the end of its stack, calling the host at each step: there is no way back into the guest
;; expect: trap stack overflow
(module
  (import "dpfw_1" "log" (func $log (param i32 i32 i32 i32 i32)))
  (memory (export "memory") 1)
  (func (export "dpfw_alloc") (param i32) (result i32) (i32.const 1024))
  (func $f (param i32) (result i32)
    (call $log (i32.const 3) (i32.const 0) (i32.const 9) (i32.const 0) (i32.const 9))
    (i32.add (i32.const 1) (call $f (local.get 0))))
  (func (export "dpfw:task") (param i32 i32) (result i64)
    (drop (call $f (i32.const 0)))
    (i64.const 0)))
