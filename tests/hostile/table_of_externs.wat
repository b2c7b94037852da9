;; trick: has a table of host references, of which there are none
;; expect: rejected it does not compile
(module
  (table $t 1 externref)
  (func (export "task")
    (if (i32.eq (table.grow $t (ref.null extern) (i32.const 100000)) (i32.const -1)) (then unreachable))))
