;; trick: has a shared memory
;; expect: rejected 
(module
  (memory 1 1 shared)
  (func (export "task")))
