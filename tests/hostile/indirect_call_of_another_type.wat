;; trick: calls a function through its table as if it had another type
;; expect: trap indirect call with another signature
(module
  (type $t (func (param i64)))
  (table 1 funcref)
  (elem (i32.const 0) $f)
  (func $f (export "task") (call_indirect (type $t) (i64.const 0) (i32.const 0))))
