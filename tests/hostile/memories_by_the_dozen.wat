;; trick: has 60 memories
;; expect: ok
(module
  {{60 (memory 1)}}
  (func (export "task")))
