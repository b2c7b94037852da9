;; trick: has a data segment beyond the end of its memory
;; expect: trap memory access out of bounds
(module
  (memory 1)
  (data (i32.const 65536) "x")
  (func (export "task")))
