;; trick: has pages of a byte
;; expect: rejected 
(module
  (memory 1 (pagesize 1))
  (func (export "task")))
