;; trick: recurses with frames of 400,000 bytes
;; expect: trap stack overflow
(module
  (func $f (export "task") (result i64)
    (local {{49000 i64 }})
    (local.set 48999 (call $f))
    (i64.add (local.get 0) (local.get 48999))))
