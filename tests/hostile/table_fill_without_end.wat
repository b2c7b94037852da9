;; trick: fills a table without end
;; expect: limit time
;; with: time=300
(module
  (table $t 20000 funcref)
  (func $f (export "task")
    (loop $more
      (table.fill $t (i32.const 0) (ref.func $f) (i32.const 20000))
      (br $more))))
