;; trick: returns a list of pieces that is cut off
;; expect: abi a list of pieces of 7 bytes
(module
  (memory (export "memory") 1)
  (data (i32.const 16) "\03\00\00\00\00\ff\ff\ff")
  (func (export "dpfw_alloc") (param i32) (result i32) (i32.const 1024))
  (func (export "dpfw:task") (param i32 i32) (result i64)
    
    (i64.const 68719476744)))
