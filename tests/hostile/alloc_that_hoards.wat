;; trick: grows its memory beyond every limit while it gives room
;; expect: limit memory
(module
  (memory (export "memory") 1)
  (data (i32.const 16) "\00\c0")
  (func (export "dpfw_alloc") (param $len i32) (result i32)
    (loop $more (br_if $more (i32.ne (memory.grow (i32.const 999)) (i32.const -1))))
    (i32.const -1))
  (func (export "dpfw:task") (param i32 i32) (result i64)
    
    (i64.const 0x1000000002)))
