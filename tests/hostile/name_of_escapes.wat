;; trick: traps in a function whose name is terminal escapes
;; expect: trap unreachable executed
(module
  (func $f (@name "\1b[31m\07\u{202e}evil\0a") unreachable)
  (func (export "task") (call $f)))
