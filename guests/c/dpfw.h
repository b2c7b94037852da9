/* Tasks for dpfw in C, to version 1 of the guest ABI (docs/abi.md).
 *
 * Owns: memory, MessagePack, the reply's tags, the description of the tasks. Needs neither a
 * libc nor anything but clang and wasm-ld. Include it in one source file of a module; another
 * file may include it after `#define DPFW_DECLARATIONS` to have the types and the calls.
 *
 *     DPFW_TASK2(add, DPFW_EFFECT_FREE, i64, i64, a, i64, b) { return a + b; }
 *
 * is a task `add(a: i64, b: i64) -> i64`: its name, flags, the type that it returns, and a type
 * and a name for each argument. What does not fit is refused before the body runs.
 *
 *     here      in C                           described as   flags
 *     i64       dpfw_i64, an int64_t           i64            DPFW_NO_FLAGS
 *     f64       dpfw_f64, a double             f64            DPFW_FALLIBLE: it may call dpfw_fail
 *     flag      dpfw_flag, a bool              bool           DPFW_ONCE: never tried again once
 *     text      dpfw_text, UTF-8 and a length  String           it may have run
 *     bytes     dpfw_bytes                     Bytes          DPFW_EFFECT_FREE: may be tried
 *     ints      dpfw_ints, many i64            Vec<i64>         twice at once
 *     texts     dpfw_texts, many texts         Vec<String>
 *     nothing   dpfw_nothing, DPFW_NOTHING     ()             written one after the other
 *
 * Invariant: memory of a call (arguments, dpfw_room, what is returned) lives until the next
 * call in the same sandbox, and is never freed before.
 */
#ifndef DPFW_H
#define DPFW_H

#include <stdbool.h>
#include <stdint.h>

typedef int64_t dpfw_i64;
typedef double dpfw_f64;
typedef bool dpfw_flag;
typedef struct { const char *at; uint32_t len; } dpfw_text;
typedef struct { const uint8_t *at; uint32_t len; } dpfw_bytes;
typedef struct { dpfw_i64 *at; uint32_t len; } dpfw_ints;
typedef struct { dpfw_text *at; uint32_t len; } dpfw_texts;
typedef struct { uint8_t none; } dpfw_nothing;

#define DPFW_NOTHING ((dpfw_nothing){0})

/* The text of a string literal. */
#define DPFW_TEXT(literal) ((dpfw_text){"" literal, sizeof(literal) - 1})

/* ---- What a task may call ------------------------------------------------------------- */

/* Room for `len` bytes, aligned to 8. Ends the task with the limit's name if there is none. */
void *dpfw_room(uint32_t len);

/* What was taken so far stays: for tables that are set up in `dpfw_warm`. */
void dpfw_keep(void);

/* The task's error; what the task then returns is not looked at. */
void dpfw_fail(dpfw_text why);

/* Ends the task at once; DPFW_PANIC adds file and line. */
_Noreturn void dpfw_panic(dpfw_text why, dpfw_text file, uint32_t line);
#define DPFW_PANIC(why) dpfw_panic(DPFW_TEXT(why), DPFW_TEXT(__FILE__), __LINE__)

/* A log line of the task. */
enum { DPFW_ERROR = 1, DPFW_WARN, DPFW_INFO, DPFW_DEBUG, DPFW_TRACE };
void dpfw_log(uint32_t level, dpfw_text line);

/* How far the task is; a `total` of 0 is not known. */
void dpfw_progress(uint64_t done, uint64_t total);

/* The texts, one after the other. */
dpfw_text dpfw_join(const dpfw_text *texts, uint32_t count);

/* ---- The keyed store ------------------------------------------------------------------ */

enum { DPFW_MISS = 0, DPFW_HIT = 1, DPFW_FAILED = 2 };

/* What the store answers. `value` is the entry's (of a get), or the reason (of a failure). */
typedef struct {
    uint32_t outcome;
    uint64_t version;
    dpfw_bytes value;
} dpfw_answer;

dpfw_answer dpfw_store_get(dpfw_text key);
dpfw_answer dpfw_store_put(dpfw_text key, dpfw_bytes value);
dpfw_answer dpfw_store_put_if_absent(dpfw_text key, dpfw_bytes value);
/* Writes if the entry still has this version; 0 stands for no entry. */
dpfw_answer dpfw_store_compare_and_swap(dpfw_text key, dpfw_bytes value, uint64_t expected);
dpfw_answer dpfw_store_remove(dpfw_text key);

/* Makes a failure of the store the task's error. Whether it was one. */
bool dpfw_store_failed(dpfw_answer answer);

/* ---- MessagePack, for values in the store and whatever the macros do not cover --------- */

/* Bytes that are being read. After the first thing that does not fit, `why` says what, and
   everything that is read is zero or empty. */
typedef struct {
    const uint8_t *at;
    const uint8_t *end;
    dpfw_text why;
} dpfw_in;

/* Bytes that are being written; they grow. */
typedef struct {
    uint8_t *at;
    uint32_t len;
    uint32_t room;
} dpfw_out;

dpfw_in dpfw_in_of(dpfw_bytes bytes);
bool dpfw_in_fits(const dpfw_in *in);
dpfw_bytes dpfw_out_bytes(const dpfw_out *out);

/* Reads the head of an array; `name` says in errors what it is. */
uint32_t dpfw_read_array(dpfw_in *in, dpfw_text name);
dpfw_i64 dpfw_read_i64(dpfw_in *in, dpfw_text name);
dpfw_f64 dpfw_read_f64(dpfw_in *in, dpfw_text name);
dpfw_flag dpfw_read_flag(dpfw_in *in, dpfw_text name);
dpfw_text dpfw_read_text(dpfw_in *in, dpfw_text name);
dpfw_bytes dpfw_read_bytes(dpfw_in *in, dpfw_text name);
dpfw_ints dpfw_read_ints(dpfw_in *in, dpfw_text name);
dpfw_texts dpfw_read_texts(dpfw_in *in, dpfw_text name);

void dpfw_write_array(dpfw_out *out, uint32_t len);
void dpfw_write_i64(dpfw_out *out, dpfw_i64 value);
void dpfw_write_f64(dpfw_out *out, dpfw_f64 value);
void dpfw_write_flag(dpfw_out *out, dpfw_flag value);
void dpfw_write_text(dpfw_out *out, dpfw_text value);
void dpfw_write_bytes(dpfw_out *out, dpfw_bytes value);
void dpfw_write_ints(dpfw_out *out, dpfw_ints value);
void dpfw_write_texts(dpfw_out *out, dpfw_texts value);
void dpfw_write_nothing(dpfw_out *out, dpfw_nothing value);

/* ---- Tasks ---------------------------------------------------------------------------- */

/* Between quotes of quotes: JSON in a string of the assembler in a string of C. */
#define DPFW_Q "\\\""
#define DPFW_MEMBER_(name, value) DPFW_Q name DPFW_Q ":" DPFW_Q value DPFW_Q

#define DPFW_NO_FLAGS ""
#define DPFW_FALLIBLE "," DPFW_Q "fallible" DPFW_Q ":true"
#define DPFW_ONCE "," DPFW_Q "once" DPFW_Q ":true"
#define DPFW_EFFECT_FREE "," DPFW_Q "effect_free" DPFW_Q ":true"

#define DPFW_NAME_i64 "i64"
#define DPFW_NAME_f64 "f64"
#define DPFW_NAME_flag "bool"
#define DPFW_NAME_text "String"
#define DPFW_NAME_bytes "Bytes"
#define DPFW_NAME_ints "Vec<i64>"
#define DPFW_NAME_texts "Vec<String>"
#define DPFW_NAME_nothing "()"

#define DPFW_ARG_(T, a) "{" DPFW_MEMBER_("name", #a) "," DPFW_MEMBER_("type", DPFW_NAME_##T) "}"

/* A line of the custom section `dpfw.tasks`. */
#define DPFW_DESCRIBE_(task, flags, R, args)                                                   \
    __asm__(".section .custom_section.dpfw.tasks,\"\",@\n"                                     \
            ".ascii \"{" DPFW_Q "task" DPFW_Q ":{" DPFW_MEMBER_("name", #task)                 \
            "," DPFW_Q "args" DPFW_Q ":[" args "],"                                            \
            DPFW_MEMBER_("returns", DPFW_NAME_##R) flags "}}\\n\"\n.text\n");

#define DPFW_READ_(T, a) dpfw_##T a = dpfw_read_##T(&in_, DPFW_TEXT(#a ": " DPFW_NAME_##T))

#define DPFW_EXPORT_(task, R, count, read, params, call)                                       \
    static dpfw_##R task params;                                                               \
    __attribute__((export_name("dpfw:" #task))) int64_t dpfw_task_##task(uint32_t at_,         \
                                                                         uint32_t len_) {      \
        dpfw_in in_ = dpfw_begin_(at_, len_, count);                                           \
        read;                                                                                  \
        if (!dpfw_complete_(&in_)) return dpfw_told_(DPFW_TAG_BAD_ARGUMENTS, in_.why);         \
        dpfw_##R value_ = task call;                                                           \
        if (dpfw_failed_) return dpfw_told_(DPFW_TAG_ERROR, dpfw_why_);                        \
        dpfw_out out_ = dpfw_reply_();                                                         \
        dpfw_write_##R(&out_, value_);                                                         \
        return dpfw_give_(&out_);                                                              \
    }                                                                                          \
    static dpfw_##R task params

#define DPFW_TASK0(task, flags, R)                                                             \
    DPFW_DESCRIBE_(task, flags, R, "")                                                         \
    DPFW_EXPORT_(task, R, 0, , (void), ())

#define DPFW_TASK1(task, flags, R, T1, a1)                                                     \
    DPFW_DESCRIBE_(task, flags, R, DPFW_ARG_(T1, a1))                                          \
    DPFW_EXPORT_(task, R, 1, DPFW_READ_(T1, a1), (dpfw_##T1 a1), (a1))

#define DPFW_TASK2(task, flags, R, T1, a1, T2, a2)                                             \
    DPFW_DESCRIBE_(task, flags, R, DPFW_ARG_(T1, a1) "," DPFW_ARG_(T2, a2))                    \
    DPFW_EXPORT_(task, R, 2, DPFW_READ_(T1, a1); DPFW_READ_(T2, a2),                           \
                 (dpfw_##T1 a1, dpfw_##T2 a2), (a1, a2))

#define DPFW_TASK3(task, flags, R, T1, a1, T2, a2, T3, a3)                                     \
    DPFW_DESCRIBE_(task, flags, R,                                                             \
                   DPFW_ARG_(T1, a1) "," DPFW_ARG_(T2, a2) "," DPFW_ARG_(T3, a3))              \
    DPFW_EXPORT_(task, R, 3, DPFW_READ_(T1, a1); DPFW_READ_(T2, a2); DPFW_READ_(T3, a3),       \
                 (dpfw_##T1 a1, dpfw_##T2 a2, dpfw_##T3 a3), (a1, a2, a3))

/* The tags at the beginning of a reply. */
enum { DPFW_TAG_RESULT = 0, DPFW_TAG_ERROR = 1, DPFW_TAG_BAD_ARGUMENTS = 2 };

/* For the macros. */
extern bool dpfw_failed_;
extern dpfw_text dpfw_why_;
dpfw_in dpfw_begin_(uint32_t at, uint32_t len, uint32_t count);
bool dpfw_complete_(dpfw_in *in);
dpfw_out dpfw_reply_(void);
int64_t dpfw_told_(uint8_t tag, dpfw_text text);
int64_t dpfw_give_(const dpfw_out *out);

#ifndef DPFW_DECLARATIONS
#include "dpfw_impl.h"
#endif

#endif
