;; trick: gives an odd address for its arguments
;; expect: ok
(module
  (memory (export "memory") 1)
  (data (i32.const 16) "\00\c0")
  (func (export "dpfw_alloc") (param $len i32) (result i32)
    (i32.const 4097))
  (func (export "dpfw:task") (param i32 i32) (result i64)
    
    (i64.const 0x1000000002)))
