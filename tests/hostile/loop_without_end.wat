;; trick: loops without end
;; expect: limit time
;; with: time=300
(module
  (func (export "task") (loop $more (br $more))))
