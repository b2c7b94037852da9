;; trick: does not give room for its arguments, and does not refuse either
;; expect: limit time
;; with: time=300
(module
  (memory (export "memory") 1)
  (func (export "dpfw_alloc") (param i32) (result i32) (loop $more (br $more)) unreachable)
  (func (export "dpfw:task") (param i32 i32) (result i64)
    
    (i64.const 0)))
