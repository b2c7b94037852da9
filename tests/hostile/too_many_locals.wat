;; trick: has more locals in a function than wasm engines allow
;; expect: rejected it does not compile
(module
  (func (export "task") (local {{50001 i64 }})))
