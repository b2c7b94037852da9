;; trick: imports what would end the machine
;; expect: rejected it imports `env.reboot`, which is not granted
(module
  (import "env" "reboot" (func))
  (memory (export "memory") 1)
  (func (export "dpfw_alloc") (param i32) (result i32) (i32.const 1024))
  (func (export "dpfw:task") (param i32 i32) (result i64)
    
    (i64.const 0)))
