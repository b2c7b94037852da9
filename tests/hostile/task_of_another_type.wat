;; trick: exports a function of another type named as a task
;; expect: rejected is no (i32, i32) -> i64
(module
  (memory (export "memory") 1)
  (func (export "dpfw_alloc") (param i32) (result i32) (i32.const 1024))
  (func (export "dpfw:task") (param i64) (result i64) (local.get 0)))
