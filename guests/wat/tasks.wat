;; A module of tasks by hand: what the guest ABI (docs/abi.md) is without any SDK. The other
;; languages' examples have the same tasks.
;;
;; A failed read of an argument is `$misfit`: it leaves the address of a reply with the tag 2
;; in `$reply`, which the task returns instead of going on.

(module
  ;; Only what is used has to be imported.
  (import "dpfw_1" "log"
    (func $log (param $level i32) (param $target i32) (param $target_len i32)
               (param $line i32) (param $line_len i32)))
  (import "dpfw_1" "progress" (func $progress (param $done i64) (param $total i64)))
  (import "dpfw_1" "store_get" (func $store_get (param $key i32) (param $len i32) (result i32)))
  (import "dpfw_1" "store_compare_and_swap"
    (func $store_swap (param $key i32) (param $key_len i32) (param $value i32)
                      (param $value_len i32) (param $expected i64) (result i32)))
  (import "dpfw_1" "reply_len" (func $reply_len (result i32)))
  (import "dpfw_1" "reply_take" (func $reply_take (param $to i32)))
  (import "dpfw_1" "reply_version" (func $reply_version (result i64)))

  ;; What the module says of its tasks, an object a line.
  (@custom "dpfw.tasks"
    "{\"task\":{\"name\":\"add\",\"args\":[{\"name\":\"a\",\"type\":\"i64\"},{\"name\":\"b\",\"type\":\"i64\"}],\"returns\":\"i64\",\"effect_free\":true}}\n"
    "{\"task\":{\"name\":\"greet\",\"args\":[{\"name\":\"name\",\"type\":\"String\"}],\"returns\":\"String\",\"effect_free\":true}}\n"
    "{\"task\":{\"name\":\"total\",\"args\":[{\"name\":\"numbers\",\"type\":\"Vec<i64>\"}],\"returns\":\"i64\",\"effect_free\":true}}\n"
    "{\"task\":{\"name\":\"divide\",\"args\":[{\"name\":\"a\",\"type\":\"i64\"},{\"name\":\"b\",\"type\":\"i64\"}],\"returns\":\"i64\",\"fallible\":true,\"effect_free\":true}}\n"
    "{\"task\":{\"name\":\"count\",\"args\":[{\"name\":\"key\",\"type\":\"String\"}],\"returns\":\"i64\",\"fallible\":true,\"once\":true}}\n")

  (memory (export "memory") 2)

  ;; Replies that never change, each with its tag; the first page is theirs.
  (data (i32.const 16) "\02the arguments do not fit")     ;; 25 bytes
  (data (i32.const 64) "\01division by zero")              ;; 17 bytes
  (data (i32.const 96) "\01the entry is no number")        ;; 23 bytes
  (data (i32.const 128) "\01the store refused")            ;; 18 bytes
  (data (i32.const 160) "guest")
  (data (i32.const 176) "Hello, ")

  ;; Where the next bytes are taken from. What is taken begins at the second page.
  (global $top (mut i32) (i32.const 65536))
  ;; What is being read, and the number of a failed read: 0, or the address and length of a
  ;; reply that says so.
  (global $at (mut i32) (i32.const 0))
  (global $end (mut i32) (i32.const 0))
  (global $reply (mut i64) (i64.const 0))

  ;; ---- Memory ------------------------------------------------------------------------

  (func $take (param $len i32) (result i32) (local $at i32) (local $pages i32)
    (local.set $at (global.get $top))
    ;; Beyond 4 GiB there is nothing.
    (if (i32.gt_u (local.get $len) (i32.sub (i32.const -65536) (local.get $at)))
      (then unreachable))
    (global.set $top (i32.add (local.get $at) (local.get $len)))
    (local.set $pages
      (i32.sub
        (i32.shr_u (i32.add (global.get $top) (i32.const 65535)) (i32.const 16))
        (memory.size)))
    (if (i32.gt_s (local.get $pages) (i32.const 0))
      (then
        (if (i32.eq (memory.grow (local.get $pages)) (i32.const -1)) (then unreachable))))
    (local.get $at))

  ;; The slave calls it once before each call, and then writes the arguments there. Of an
  ;; earlier call of the same sandbox nothing is read any more.
  (func (export "dpfw_alloc") (param $len i32) (result i32)
    (global.set $top (i32.const 65536))
    (call $take (local.get $len)))

  (func $packed (param $at i32) (param $len i32) (result i64)
    (i64.or
      (i64.shl (i64.extend_i32_u (local.get $at)) (i64.const 32))
      (i64.extend_i32_u (local.get $len))))

  ;; ---- Reading MessagePack -----------------------------------------------------------

  (func $misfit
    (global.set $reply (call $packed (i32.const 16) (i32.const 25)))
    (global.set $at (global.get $end)))

  ;; Begins with the arguments, which have to be an array of so many.
  (func $begin (param $at i32) (param $len i32) (param $count i32)
    (global.set $at (local.get $at))
    (global.set $end (i32.add (local.get $at) (local.get $len)))
    (global.set $reply (i64.const 0))
    (if (i32.ne (call $array) (local.get $count)) (then (call $misfit))))

  ;; Whether all was read, and fitted.
  (func $is_complete (result i32)
    (if (i32.ne (global.get $at) (global.get $end)) (then (call $misfit)))
    (i64.eqz (global.get $reply)))

  ;; A number of so many bytes, the highest first.
  (func $big (param $size i32) (result i64) (local $value i64)
    (if (i32.gt_u (local.get $size) (i32.sub (global.get $end) (global.get $at)))
      (then (call $misfit) (return (i64.const 0))))
    (loop $more
      (local.set $value
        (i64.or
          (i64.shl (local.get $value) (i64.const 8))
          (i64.load8_u (global.get $at))))
      (global.set $at (i32.add (global.get $at) (i32.const 1)))
      (br_if $more (local.tee $size (i32.sub (local.get $size) (i32.const 1)))))
    (local.get $value))

  (func $int (result i64) (local $marker i32) (local $value i64) (local $rest i64)
    (local.set $marker (i32.wrap_i64 (call $big (i32.const 1))))
    ;; In the marker itself: 0 to 127, and -32 to -1.
    (if (i32.or (i32.le_u (local.get $marker) (i32.const 0x7f))
                (i32.ge_u (local.get $marker) (i32.const 0xe0)))
      (then (return (i64.extend8_s (i64.extend_i32_u (local.get $marker))))))
    ;; Unsigned, of 1, 2, 4 or 8 bytes.
    (if (i32.le_u (i32.sub (local.get $marker) (i32.const 0xcc)) (i32.const 3))
      (then
        (local.set $value
          (call $big (i32.shl (i32.const 1) (i32.sub (local.get $marker) (i32.const 0xcc)))))
        (if (i64.lt_s (local.get $value) (i64.const 0)) (then (call $misfit)))
        (return (local.get $value))))
    ;; Signed, of as many.
    (if (i32.le_u (i32.sub (local.get $marker) (i32.const 0xd0)) (i32.const 3))
      (then
        (local.set $marker (i32.shl (i32.const 1) (i32.sub (local.get $marker) (i32.const 0xd0))))
        (local.set $rest (i64.extend_i32_u (i32.sub (i32.const 64) (i32.mul (local.get $marker) (i32.const 8)))))
        (return
          (i64.shr_s
            (i64.shl (call $big (local.get $marker)) (local.get $rest))
            (local.get $rest)))))
    (call $misfit)
    (i64.const 0))

  ;; The length of an array. Its elements have a byte each at least.
  (func $array (result i32) (local $marker i32) (local $len i32)
    (local.set $marker (i32.wrap_i64 (call $big (i32.const 1))))
    (block $known
      (if (i32.eq (i32.and (local.get $marker) (i32.const 0xf0)) (i32.const 0x90))
        (then (local.set $len (i32.and (local.get $marker) (i32.const 0x0f))) (br $known)))
      (if (i32.eq (local.get $marker) (i32.const 0xdc))
        (then (local.set $len (i32.wrap_i64 (call $big (i32.const 2)))) (br $known)))
      (if (i32.eq (local.get $marker) (i32.const 0xdd))
        (then (local.set $len (i32.wrap_i64 (call $big (i32.const 4)))) (br $known)))
      (call $misfit))
    (call $has (local.get $len)))

  ;; A text: where it is, and its length.
  (func $text (result i32 i32) (local $marker i32) (local $len i32) (local $at i32)
    (local.set $marker (i32.wrap_i64 (call $big (i32.const 1))))
    (block $known
      (if (i32.eq (i32.and (local.get $marker) (i32.const 0xe0)) (i32.const 0xa0))
        (then (local.set $len (i32.and (local.get $marker) (i32.const 0x1f))) (br $known)))
      (if (i32.le_u (i32.sub (local.get $marker) (i32.const 0xd9)) (i32.const 2))
        (then
          (local.set $len
            (i32.wrap_i64
              (call $big (i32.shl (i32.const 1) (i32.sub (local.get $marker) (i32.const 0xd9))))))
          (br $known)))
      (call $misfit))
    (local.set $len (call $has (local.get $len)))
    (local.set $at (global.get $at))
    (global.set $at (i32.add (local.get $at) (local.get $len)))
    (local.get $at) (local.get $len))

  ;; The length, if so many bytes are there, and 0 if not.
  (func $has (param $len i32) (result i32)
    (if (i32.gt_u (local.get $len) (i32.sub (global.get $end) (global.get $at)))
      (then (call $misfit) (local.set $len (i32.const 0))))
    (local.get $len))

  ;; ---- Writing MessagePack -----------------------------------------------------------

  ;; A number in 9 bytes: every reader takes the long form. Gives where.
  (func $write_int (param $value i64) (result i32) (local $at i32) (local $i i32)
    (local.set $at (call $take (i32.const 9)))
    (i32.store8 (local.get $at) (i32.const 0xd3))
    (loop $more
      (i32.store8
        (i32.add (local.get $at) (i32.sub (i32.const 8) (local.get $i)))
        (i32.wrap_i64 (local.get $value)))
      (local.set $value (i64.shr_u (local.get $value) (i64.const 8)))
      (br_if $more
        (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 8))))
    (local.get $at))

  ;; A reply with a number: its tag, 0, and the number right behind it.
  (func $reply_int (param $value i64) (result i64) (local $at i32)
    (local.set $at (call $take (i32.const 1)))
    (i32.store8 (local.get $at) (i32.const 0))
    (drop (call $write_int (local.get $value)))
    (call $packed (local.get $at) (i32.const 10)))

  ;; ---- The tasks ---------------------------------------------------------------------

  (func (export "dpfw:add") (param $at i32) (param $len i32) (result i64)
    (local $a i64) (local $b i64)
    (call $begin (local.get $at) (local.get $len) (i32.const 2))
    (local.set $a (call $int))
    (local.set $b (call $int))
    (if (i32.eqz (call $is_complete)) (then (return (global.get $reply))))
    (call $reply_int (i64.add (local.get $a) (local.get $b))))

  (func (export "dpfw:greet") (param $at i32) (param $len i32) (result i64)
    (local $name i32) (local $name_len i32) (local $to i32)
    (call $begin (local.get $at) (local.get $len) (i32.const 1))
    (call $text)
    (local.set $name_len)
    (local.set $name)
    (if (i32.eqz (call $is_complete)) (then (return (global.get $reply))))
    ;; The tag, a text's longest head, "Hello, ", the name, "!".
    (local.set $to (call $take (i32.add (local.get $name_len) (i32.const 14))))
    (i32.store8 (local.get $to) (i32.const 0))
    (i32.store8 offset=1 (local.get $to) (i32.const 0xdb))
    (call $store_big (i32.add (local.get $to) (i32.const 2))
      (i32.add (local.get $name_len) (i32.const 8)))
    (memory.copy (i32.add (local.get $to) (i32.const 6)) (i32.const 176) (i32.const 7))
    (memory.copy (i32.add (local.get $to) (i32.const 13)) (local.get $name) (local.get $name_len))
    (i32.store8 offset=13 (i32.add (local.get $to) (local.get $name_len)) (i32.const 0x21))
    (call $log (i32.const 3) (i32.const 160) (i32.const 5)
      (i32.add (local.get $to) (i32.const 6)) (i32.add (local.get $name_len) (i32.const 8)))
    (call $packed (local.get $to) (i32.add (local.get $name_len) (i32.const 14))))

  ;; Four bytes, the highest first.
  (func $store_big (param $at i32) (param $value i32)
    (i32.store8 (local.get $at) (i32.shr_u (local.get $value) (i32.const 24)))
    (i32.store8 offset=1 (local.get $at) (i32.shr_u (local.get $value) (i32.const 16)))
    (i32.store8 offset=2 (local.get $at) (i32.shr_u (local.get $value) (i32.const 8)))
    (i32.store8 offset=3 (local.get $at) (local.get $value)))

  (func (export "dpfw:total") (param $at i32) (param $len i32) (result i64)
    (local $count i32) (local $done i32) (local $sum i64)
    (call $begin (local.get $at) (local.get $len) (i32.const 1))
    (local.set $count (call $array))
    (block $all
      (loop $more
        (br_if $all (i32.ge_u (local.get $done) (local.get $count)))
        (local.set $sum (i64.add (local.get $sum) (call $int)))
        (local.set $done (i32.add (local.get $done) (i32.const 1)))
        (call $progress
          (i64.extend_i32_u (local.get $done)) (i64.extend_i32_u (local.get $count)))
        (br $more)))
    (if (i32.eqz (call $is_complete)) (then (return (global.get $reply))))
    (call $reply_int (local.get $sum)))

  (func (export "dpfw:divide") (param $at i32) (param $len i32) (result i64)
    (local $a i64) (local $b i64)
    (call $begin (local.get $at) (local.get $len) (i32.const 2))
    (local.set $a (call $int))
    (local.set $b (call $int))
    (if (i32.eqz (call $is_complete)) (then (return (global.get $reply))))
    ;; An error value: the caller gets the text.
    (if (i64.eqz (local.get $b)) (then (return (call $packed (i32.const 64) (i32.const 17)))))
    ;; The one quotient that an i64 does not hold is not divided.
    (if (i64.eq (local.get $b) (i64.const -1))
      (then (return (call $reply_int (i64.sub (i64.const 0) (local.get $a))))))
    (call $reply_int (i64.div_s (local.get $a) (local.get $b))))

  ;; Adds one to a number in the keyed store and says what it is then. Others may do the same
  ;; at the same time: it is written only if it is still what was read.
  (func (export "dpfw:count") (param $at i32) (param $len i32) (result i64)
    (local $key i32) (local $key_len i32) (local $outcome i32) (local $version i64)
    (local $count i64) (local $value i32)
    (call $begin (local.get $at) (local.get $len) (i32.const 1))
    (call $text)
    (local.set $key_len)
    (local.set $key)
    (if (i32.eqz (call $is_complete)) (then (return (global.get $reply))))
    (loop $again
      (local.set $outcome (call $store_get (local.get $key) (local.get $key_len)))
      (if (i32.eq (local.get $outcome) (i32.const 2))
        (then (return (call $packed (i32.const 128) (i32.const 18)))))
      (local.set $version (call $reply_version))
      (local.set $count (i64.const 0))
      (if (i32.eq (local.get $outcome) (i32.const 1))
        (then
          (local.set $len (call $reply_len))
          (global.set $at (call $take (local.get $len)))
          (global.set $end (i32.add (global.get $at) (local.get $len)))
          (call $reply_take (global.get $at))
          (local.set $count (call $int))
          (if (i32.eqz (call $is_complete))
            (then (return (call $packed (i32.const 96) (i32.const 23)))))))
      (local.set $count (i64.add (local.get $count) (i64.const 1)))
      (local.set $value (call $write_int (local.get $count)))
      (local.set $outcome
        (call $store_swap (local.get $key) (local.get $key_len)
          (local.get $value) (i32.const 9) (local.get $version)))
      (if (i32.eq (local.get $outcome) (i32.const 2))
        (then (return (call $packed (i32.const 128) (i32.const 18)))))
      (br_if $again (i32.eqz (local.get $outcome))))
    (call $reply_int (local.get $count)))
)
