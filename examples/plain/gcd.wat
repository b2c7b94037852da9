;; A plain module: numbers in, numbers out, no import, no SDK.
;;
;;   dpfw run examples/plain/gcd.wat gcd '[48, 36]'
(module
  ;; The greatest common divisor, as Euclid found it.
  (func (export "gcd") (param $a i64) (param $b i64) (result i64)
    (local $rest i64)
    (block $done
      (loop $again
        (br_if $done (i64.eqz (local.get $b)))
        (local.set $rest (i64.rem_u (local.get $a) (local.get $b)))
        (local.set $a (local.get $b))
        (local.set $b (local.get $rest))
        (br $again)))
    (local.get $a))

  ;; Two results: a plain function's come as a list.
  (func (export "divide") (param $a i64) (param $b i64) (result i64 i64)
    (i64.div_s (local.get $a) (local.get $b))
    (i64.rem_s (local.get $a) (local.get $b))))
