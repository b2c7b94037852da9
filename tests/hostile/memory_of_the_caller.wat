;; trick: has more memory from the start than its caller allows
;; expect: limit memory
;; with: memory=1048576
(module
  (memory 100)
  (func (export "task")))
