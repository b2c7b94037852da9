;; trick: copies a table onto itself without end
;; expect: limit time
;; with: time=300
(module
  (table $t 20000 funcref)
  (func $f (export "task")
    (loop $more
      (table.copy $t $t (i32.const 1) (i32.const 0) (i32.const 19999))
      (br $more))))
