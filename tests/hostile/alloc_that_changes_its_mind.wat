;; trick: gives another answer whenever it is asked
;; expect: ok
(module
  (memory (export "memory") 1)
  (global $n (mut i32) (i32.const 0))
  (data (i32.const 16) "\00\c0")
  (func (export "dpfw_alloc") (param $len i32) (result i32)
    (global.set $n (i32.add (global.get $n) (i32.const 4099)))
    (global.get $n))
  (func (export "dpfw:task") (param i32 i32) (result i64)
    
    (i64.const 0x1000000002)))
