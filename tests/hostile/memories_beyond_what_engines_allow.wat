;; trick: has 101 memories
;; expect: rejected 
(module
  {{101 (memory 0)}}
  (func (export "task")))
