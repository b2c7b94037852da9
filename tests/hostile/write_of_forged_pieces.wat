;; trick: writes 1,024 pieces, each of 4 GiB less a byte
;; expect: abi outside its memory
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "{{1024 \00\00\00\00\ff\ff\ff\ff}}")
  (func (export "dpfw_alloc") (param i32) (result i32) (i32.const 1024))
  (func (export "dpfw:task") (param i32 i32) (result i64)
    (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1024) (i32.const 9000)))
    (i64.const 0)))
