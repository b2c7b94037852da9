;; trick: returns more than its caller takes
;; expect: limit result
;; with: result=1000
(module
  (memory (export "memory") 1)
  (func (export "dpfw_alloc") (param i32) (result i32) (i32.const 1024))
  (func (export "dpfw:task") (param i32 i32) (result i64)
    
    (i64.const 60000)))
