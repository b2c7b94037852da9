;; trick: has 256 MiB of randomness made again and again
;; expect: limit time
;; with: time=300
(module
  (import "wasi_snapshot_preview1" "random_get" (func $random_get (param i32 i32) (result i32)))
  (memory (export "memory") 4096)
  (func (export "dpfw_alloc") (param i32) (result i32) (i32.const 1024))
  (func (export "dpfw:task") (param i32 i32) (result i64)
    (loop $more
      (drop (call $random_get (i32.const 0) (i32.const 0x10000000)))
      (br $more))
    (i64.const 0)))
