;; trick: has a memory of 64 bits
;; expect: rejected 
(module
  (memory i64 1)
  (func (export "task")))
