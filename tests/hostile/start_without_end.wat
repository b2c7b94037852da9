;; trick: its start function does not end
;; expect: limit time
(module
  (func $start (loop $more (br $more)))
  (start $start)
  (memory (export "memory") 1)
  (func (export "dpfw_alloc") (param i32) (result i32) (i32.const 1024))
  (func (export "dpfw:task") (param i32 i32) (result i64)
    
    (i64.const 0)))
