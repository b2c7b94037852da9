;; trick: calls the host without end before its task begins
;; expect: limit host calls
;; with: host-calls=100000
(module
  (import "wasi_snapshot_preview1" "sched_yield" (func $sched_yield (result i32)))
  (memory (export "memory") 1)
  (func (export "dpfw_alloc") (param i32) (result i32)
    (loop $more (drop (call $sched_yield)) (br $more))
    unreachable)
  (func (export "dpfw:task") (param i32 i32) (result i64)
    
    (i64.const 0)))
