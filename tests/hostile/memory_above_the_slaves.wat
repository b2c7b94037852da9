;; trick: has a memory of 4 GiB from the start
;; expect: limit memory
(module
  (memory 65536)
  (func (export "task")))
