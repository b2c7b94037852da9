;; trick: has more locals in a function than can be compiled in time
;; expect: limit locals
(module
  (func (export "task") (local {{50001 i64 }})))
