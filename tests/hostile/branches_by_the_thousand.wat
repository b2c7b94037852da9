;; trick: branches through a table of 60,000 entries
;; expect: ok
(module
  (func (export "task") 
    (block $a (block $b (block $c
      (br_table {{20000 $a $b $c }} (i32.const 59999))))))
  (func (export "dummy")))
