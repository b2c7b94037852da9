;; trick: asks for the length of an answer that it did not ask for without end
;; expect: limit host calls
;; with: host-calls=100000
(module
  (import "dpfw_1" "reply_len" (func $reply_len (result i32)))
  (memory (export "memory") 1)
  (func (export "dpfw_alloc") (param i32) (result i32) (i32.const 1024))
  (func (export "dpfw:task") (param i32 i32) (result i64)
    (loop $more
      (drop (call $reply_len))
      (br $more))
    (i64.const 0)))
