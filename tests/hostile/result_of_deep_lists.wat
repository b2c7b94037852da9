;; trick: returns a thousand lists within one another
;; expect: bad result
(module
  (memory (export "memory") 1)
  (data (i32.const 16) "\00{{1000 \91}}\c0")
  (func (export "dpfw_alloc") (param i32) (result i32) (i32.const 1024))
  (func (export "dpfw:task") (param i32 i32) (result i64)
    
    (i64.const 68719477738)))
