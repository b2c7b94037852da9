;; trick: logs what is not in its memory
;; expect: abi 4294967295 bytes at 8 are outside its memory
(module
  (import "dpfw_1" "log" (func $log (param i32 i32 i32 i32 i32)))
  (memory (export "memory") 1)
  (func (export "dpfw_alloc") (param i32) (result i32) (i32.const 1024))
  (func (export "dpfw:task") (param i32 i32) (result i64)
    (call $log (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 8) (i32.const -1))
    (i64.const 0)))
