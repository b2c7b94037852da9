;; trick: has tasks whose names are terminal escapes, and not the one that is called
;; expect: missing
(module
  (memory (export "memory") 1)
  (func (export "dpfw_alloc") (param i32) (result i32) (i32.const 1024))
  (func (export "dpfw:\1b[31m\07\u{202e}evil\0a") (param i32 i32) (result i64) (i64.const 0)))
