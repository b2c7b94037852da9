;; trick: writes more pieces than there is memory for
;; expect: ok
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "\00\c0")
  (func (export "dpfw_alloc") (param i32) (result i32) (i32.const 1024))
  (func (export "dpfw:task") (param i32 i32) (result i64)
    (if (i32.eqz (call $fd_write (i32.const 2) (i32.const 0) (i32.const 0x20000001) (i32.const 9000))) (then unreachable))
    (i64.const 0x1000000002)))
