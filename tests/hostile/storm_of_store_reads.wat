;; trick: reads an entry that is not there without end
;; expect: limit host calls
;; with: host-calls=100000
(module
  (import "dpfw_1" "store_get" (func $store_get (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "dpfw_alloc") (param i32) (result i32) (i32.const 1024))
  (func (export "dpfw:task") (param i32 i32) (result i64)
    (loop $more
      (drop (call $store_get (i32.const 0) (i32.const 1)))
      (br $more))
    (i64.const 0)))
