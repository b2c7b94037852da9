;; trick: copies a passive segment without end
;; expect: limit time
;; with: time=300
(module
  (memory 1)
  (data $d "{{60000 x}}")
  (func (export "task")
    (loop $more
      (memory.init $d (i32.const 0) (i32.const 0) (i32.const 60000))
      (br $more))))
