;; trick: exports a table named as a task
;; expect: missing
(module
  (memory (export "memory") 1)
  (func (export "dpfw_alloc") (param i32) (result i32) (i32.const 1024))
  (table (export "dpfw:task") 1 funcref))
