;; trick: reads at the highest address with the highest offset
;; expect: trap memory access out of bounds
(module
  (memory 1)
  (func (export "task") (result i64) (i64.load offset=0xffffffff (i32.const -1))))
