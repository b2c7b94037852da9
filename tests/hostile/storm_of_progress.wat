;; trick: tells how far it is without end
;; expect: limit host calls
;; with: host-calls=100000
(module
  (import "dpfw_1" "progress" (func $progress (param i64 i64)))
  (memory (export "memory") 1)
  (func (export "dpfw_alloc") (param i32) (result i32) (i32.const 1024))
  (func (export "dpfw:task") (param i32 i32) (result i64)
    (loop $more
      (call $progress (i64.const 1) (i64.const 2))
      (br $more))
    (i64.const 0)))
