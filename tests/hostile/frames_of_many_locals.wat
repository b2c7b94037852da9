;; trick: recurses with frames of 72,000 bytes
;; expect: trap stack overflow
(module
  (func $f (export "task") (result i64)
    (local {{9000 i64 }})
    (local.set 8999 (call $f))
    (i64.add (local.get 0) (local.get 8999))))
