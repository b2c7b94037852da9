;; trick: asks for 4 GiB of randomness
;; expect: abi 4294967295 bytes at 0 are outside its memory
(module
  (import "wasi_snapshot_preview1" "random_get" (func $random_get (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "dpfw_alloc") (param i32) (result i32) (i32.const 1024))
  (func (export "dpfw:task") (param i32 i32) (result i64)
    (drop (call $random_get (i32.const 0) (i32.const -1)))
    (i64.const 0)))
