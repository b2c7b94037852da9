;; trick: calls an element that its table does not have
;; expect: trap table access out of bounds
(module
  (type $t (func))
  (table 1 funcref)
  (func (export "task") (call_indirect (type $t) (i32.const 0x7fffffff))))
