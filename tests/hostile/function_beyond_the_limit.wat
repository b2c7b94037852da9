;; trick: has a function of more than a MiB
;; expect: limit function size
(module
  (func (export "task") {{600000 (drop (i32.const 0))}}))
