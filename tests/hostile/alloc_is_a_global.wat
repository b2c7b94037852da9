;; trick: exports a global named as the allocator
;; expect: rejected it exports no function `dpfw_alloc(i32) -> i32`
(module
  (memory (export "memory") 1)
  (global (export "dpfw_alloc") i32 (i32.const 0))
  (func (export "dpfw:task") (param i32 i32) (result i64)
    
    (i64.const 0)))
