;; trick: reads a clock without end
;; expect: limit host calls
;; with: host-calls=100000
(module
  (import "wasi_snapshot_preview1" "clock_time_get" (func $clock_time_get (param i32 i64 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "dpfw_alloc") (param i32) (result i32) (i32.const 1024))
  (func (export "dpfw:task") (param i32 i32) (result i64)
    (loop $more
      (drop (call $clock_time_get (i32.const 1) (i64.const 0) (i32.const 64)))
      (br $more))
    (i64.const 0)))
