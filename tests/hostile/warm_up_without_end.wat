;; trick: its warm-up fills memory without end
;; expect: limit time
(module
  (func (export "dpfw_warm") (loop $more (memory.fill (i32.const 0) (i32.const 1) (i32.const 65536)) (br $more)))
  (memory (export "memory") 1)
  (func (export "dpfw_alloc") (param i32) (result i32) (i32.const 1024))
  (func (export "dpfw:task") (param i32 i32) (result i64)
    
    (i64.const 0)))
