;; trick: returns what is not in its memory
;; expect: abi 16 bytes at 65535 are outside its memory
(module
  (memory (export "memory") 1)
  (func (export "dpfw_alloc") (param i32) (result i32) (i32.const 1024))
  (func (export "dpfw:task") (param i32 i32) (result i64)
    
    (i64.const 281470681743376)))
