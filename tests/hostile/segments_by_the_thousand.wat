;; trick: has 90,000 passive segments
;; expect: ok
(module
  (memory 1)
  {{90000 (data "")}}
  (func (export "task")))
