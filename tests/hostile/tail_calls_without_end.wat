;; trick: calls itself without end, without a loop and without a stack
;; expect: limit time
;; with: time=300
(module
  (func $f (export "task") (return_call $f)))
