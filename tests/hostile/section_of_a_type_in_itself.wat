;; trick: describes a type that has itself as a field
;; expect: ok
(module
  (memory (export "memory") 1)
  (data (i32.const 16) "\00\c0")
  (func (export "dpfw_alloc") (param i32) (result i32) (i32.const 1024))
  (func (export "dpfw:task") (param i32 i32) (result i64)
    
    (i64.const 0x1000000002))
  (@custom "dpfw.tasks" "{\"task\":{\"name\":\"task\",\"args\":[{\"name\":\"a\",\"type\":\"T\"}]}}\0a{\"type\":{\"name\":\"T\",\"fields\":[{\"name\":\"t\",\"type\":\"T\"}]}}"))
