;; trick: grows its table until it may not, then gives up
;; expect: limit table
(module
  (table $t 1 funcref)
  (func (export "task")
    (loop $more
      (br_if $more (i32.ne (table.grow $t (ref.null func) (i32.const 100)) (i32.const -1))))
    unreachable))
