;; trick: fails with a text of terminal escapes and broken UTF-8
;; expect: failed
(module
  (memory (export "memory") 1)
  (data (i32.const 16) "\01\1b[31mred\07\ff\ed\a0\80\0d\0ax")
  (func (export "dpfw_alloc") (param i32) (result i32) (i32.const 1024))
  (func (export "dpfw:task") (param i32 i32) (result i64)
    
    (i64.const 68719476753)))
