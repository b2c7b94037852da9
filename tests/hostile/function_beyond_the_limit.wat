;; trick: has a function of 1.8 MB
;; expect: limit function size
(module
  (func (export "task") {{600000 (drop (i32.const 0))}}))
