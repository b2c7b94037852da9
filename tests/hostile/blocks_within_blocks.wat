;; trick: has 30,000 blocks within one another
;; expect: ok
(module
  (func (export "task")
    {{30000 block }}{{30000 end }}))
