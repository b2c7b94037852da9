;; trick: returns 4 GiB less a byte, at the highest address
;; expect: abi 4294967295 bytes at 4294967295 are outside its memory
(module
  (memory (export "memory") 1)
  (func (export "dpfw_alloc") (param i32) (result i32) (i32.const 1024))
  (func (export "dpfw:task") (param i32 i32) (result i64)
    
    (i64.const -1)))
