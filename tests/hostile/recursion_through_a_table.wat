;; trick: calls itself without end through a table
;; expect: trap stack overflow
(module
  (type $t (func (result i32)))
  (table 1 funcref)
  (elem (i32.const 0) $f)
  (func $f (export "task") (result i32) (i32.add (i32.const 1) (call_indirect (type $t) (i32.const 0)))))
