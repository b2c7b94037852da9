;; trick: exports 50,000 functions
;; expect: limit exports
(module
  (func $f)
  {{50000 (export "f#" (func $f))}}
  (memory (export "memory") 1)
  (data (i32.const 16) "\00\c0")
  (func (export "dpfw_alloc") (param i32) (result i32) (i32.const 1024))
  (func (export "dpfw:task") (param i32 i32) (result i64)
    
    (i64.const 0x1000000002)))
