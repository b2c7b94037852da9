;; trick: grows its memory until it may not, then gives up
;; expect: limit memory
(module
  (memory 1)
  (func (export "task")
    (loop $more
      (br_if $more (i32.ne (memory.grow (i32.const 64)) (i32.const -1))))
    unreachable))
