/* A module of tasks in C, with dpfw.h and without a libc. The other languages' examples
 * have the same tasks. */
#include "dpfw.h"

DPFW_TASK2(add, DPFW_EFFECT_FREE, i64, i64, a, i64, b) {
    return (int64_t)((uint64_t)a + (uint64_t)b);
}

DPFW_TASK1(greet, DPFW_EFFECT_FREE, text, text, name) {
    const dpfw_text words[] = {DPFW_TEXT("Hello, "), name, DPFW_TEXT("!")};
    dpfw_text greeting = dpfw_join(words, 3);
    dpfw_log(DPFW_INFO, greeting);
    return greeting;
}

/* Tells how far it is. */
DPFW_TASK1(total, DPFW_EFFECT_FREE, i64, ints, numbers) {
    uint64_t sum = 0;
    for (uint32_t i = 0; i < numbers.len; i++) {
        sum += (uint64_t)numbers.at[i];
        dpfw_progress(i + 1, numbers.len);
    }
    return (int64_t)sum;
}

/* An error value: the caller gets the text. */
DPFW_TASK2(divide, DPFW_FALLIBLE DPFW_EFFECT_FREE, i64, i64, a, i64, b) {
    if (b == 0) return dpfw_fail(DPFW_TEXT("division by zero")), 0;
    /* The one quotient that an i64 does not hold. */
    if (b == -1) return (int64_t)(0 - (uint64_t)a);
    return a / b;
}

/* Adds one to a number in the keyed store and says what it is then. Others may do the same
 * at the same time: it is written only if it is still what was read. */
DPFW_TASK1(count, DPFW_FALLIBLE DPFW_ONCE, i64, text, key) {
    for (;;) {
        dpfw_answer found = dpfw_store_get(key);
        if (dpfw_store_failed(found)) return 0;
        int64_t count = 0;
        if (found.outcome == DPFW_HIT) {
            dpfw_in in = dpfw_in_of(found.value);
            count = dpfw_read_i64(&in, key);
            if (!dpfw_in_fits(&in)) return dpfw_fail(DPFW_TEXT("the entry is no number")), 0;
        }
        dpfw_out out = {0, 0, 0};
        dpfw_write_i64(&out, count + 1);
        dpfw_answer written =
            dpfw_store_compare_and_swap(key, dpfw_out_bytes(&out), found.version);
        if (dpfw_store_failed(written)) return 0;
        if (written.outcome == DPFW_HIT) return count + 1;
    }
}
