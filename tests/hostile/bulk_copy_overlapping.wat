;; trick: copies 256 MiB onto itself, a byte further, again and again
;; expect: limit time
;; with: time=300
(module
  (memory 4097)
  (func (export "task")
    (loop $more
      (memory.copy (i32.const 1) (i32.const 0) (i32.const 0x10000000))
      (br $more))))
