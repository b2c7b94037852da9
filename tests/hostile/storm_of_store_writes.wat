;; trick: writes entries into the store without end
;; expect: limit host calls
;; with: host-calls=100000
(module
  (import "dpfw_1" "store_put" (func $store_put (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "dpfw_alloc") (param i32) (result i32) (i32.const 1024))
  (func (export "dpfw:task") (param i32 i32) (result i64)
    (loop $more
      (i32.store (i32.const 0) (i32.add (i32.const 1) (i32.load (i32.const 0))))
      (drop (call $store_put (i32.const 0) (i32.const 4) (i32.const 0) (i32.const 1000)))
      (br $more))
    (i64.const 0)))
