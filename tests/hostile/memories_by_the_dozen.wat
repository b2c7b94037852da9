;; trick: has 60 memories
;; expect: rejected 
(module
  {{60 (memory 1)}}
  (func (export "task")))
