;; trick: ends its process where it is to give room
;; expect: abi it called exit(3) instead of returning
(module
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "\00\c0")
  (func (export "dpfw_alloc") (param $len i32) (result i32)
    (call $proc_exit (i32.const 3))
    unreachable)
  (func (export "dpfw:task") (param i32 i32) (result i64)
    
    (i64.const 0x1000000002)))
