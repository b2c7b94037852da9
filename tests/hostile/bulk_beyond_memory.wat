;; trick: fills beyond the end of its memory
;; expect: trap memory access out of bounds
(module
  (memory 1)
  (func (export "task") (memory.fill (i32.const 65535) (i32.const 1) (i32.const -1))))
