;; trick: says that it panics without end
;; expect: limit host calls
;; with: host-calls=100000
(module
  (import "dpfw_1" "panic" (func $panic (param i32 i32 i32 i32 i32 i32)))
  (memory (export "memory") 1)
  (func (export "dpfw_alloc") (param i32) (result i32) (i32.const 1024))
  (func (export "dpfw:task") (param i32 i32) (result i64)
    (loop $more
      (call $panic (i32.const 0) (i32.const 9) (i32.const 0) (i32.const 9) (i32.const 1) (i32.const 1))
      (br $more))
    (i64.const 0)))
