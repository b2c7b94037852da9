;; trick: exports a function named as the memory
;; expect: rejected it exports no memory named `memory`
(module
  (memory 1)
  (func (export "memory"))
  (func (export "dpfw_alloc") (param i32) (result i32) (i32.const 1024))
  (func (export "dpfw:task") (param i32 i32) (result i64)
    
    (i64.const 0)))
