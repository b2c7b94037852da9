;; trick: fills 512 MiB again and again: no epoch interrupts a bulk instruction
;; expect: limit time
;; with: time=300
(module
  (memory 8192)
  (func (export "task")
    (loop $more
      (memory.fill (i32.const 0) (i32.const 1) (i32.const 0x20000000))
      (br $more))))
