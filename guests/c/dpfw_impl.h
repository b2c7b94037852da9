/* The code behind dpfw.h, which includes it: in one source file of a module.
 *
 * Owns: the exports `dpfw_alloc` and the imports of `dpfw_1`. Invariant: every length that
 * stands in MessagePack is held against the bytes that are there before it is believed.
 */
#ifndef DPFW_IMPL_H
#define DPFW_IMPL_H

#define DPFW_IMPORT_(name) __attribute__((import_module("dpfw_1"), import_name(name)))

DPFW_IMPORT_("log") void dpfw_host_log(uint32_t, const char *, uint32_t, const char *, uint32_t);
DPFW_IMPORT_("progress") void dpfw_host_progress(uint64_t, uint64_t);
DPFW_IMPORT_("panic")
void dpfw_host_panic(const char *, uint32_t, const char *, uint32_t, uint32_t, uint32_t);
DPFW_IMPORT_("store_get") uint32_t dpfw_host_get(const char *, uint32_t);
DPFW_IMPORT_("store_put")
uint32_t dpfw_host_put(const char *, uint32_t, const uint8_t *, uint32_t);
DPFW_IMPORT_("store_put_if_absent")
uint32_t dpfw_host_put_if_absent(const char *, uint32_t, const uint8_t *, uint32_t);
DPFW_IMPORT_("store_compare_and_swap")
uint32_t dpfw_host_swap(const char *, uint32_t, const uint8_t *, uint32_t, uint64_t);
DPFW_IMPORT_("store_remove") uint32_t dpfw_host_remove(const char *, uint32_t);
DPFW_IMPORT_("reply_len") uint32_t dpfw_host_reply_len(void);
DPFW_IMPORT_("reply_take") void dpfw_host_reply_take(uint8_t *);
DPFW_IMPORT_("reply_version") uint64_t dpfw_host_reply_version(void);

/* ---- What the compiler calls ---------------------------------------------------------- */

__attribute__((weak, no_builtin)) void *memcpy(void *to, const void *from, __SIZE_TYPE__ len) {
    uint8_t *t = to;
    const uint8_t *f = from;
    while (len--) *t++ = *f++;
    return to;
}

__attribute__((weak, no_builtin)) void *memmove(void *to, const void *from, __SIZE_TYPE__ len) {
    uint8_t *t = to;
    const uint8_t *f = from;
    if (t < f) return memcpy(to, from, len);
    while (len--) t[len] = f[len];
    return to;
}

__attribute__((weak, no_builtin)) void *memset(void *to, int byte, __SIZE_TYPE__ len) {
    uint8_t *t = to;
    while (len--) *t++ = (uint8_t)byte;
    return to;
}

/* ---- Memory --------------------------------------------------------------------------- */

#define DPFW_PAGE 65536ull

/* Where the linker's data and stack end. */
extern uint8_t __heap_base;

/* What was taken, and what stays when the next call begins; 0 before the first. */
static uint64_t dpfw_top;
static uint64_t dpfw_floor;

void *dpfw_room(uint32_t len) {
    if (!dpfw_top) dpfw_top = dpfw_floor = (uint32_t)&__heap_base;
    uint64_t at = (dpfw_top + 7) & ~7ull, end = at + len;
    uint64_t have = __builtin_wasm_memory_size(0) * DPFW_PAGE;
    if (end > have) {
        uint64_t pages = (end - have + DPFW_PAGE - 1) / DPFW_PAGE;
        if (pages > 65536 || __builtin_wasm_memory_grow(0, pages) == (__SIZE_TYPE__)-1)
            DPFW_PANIC("there is no memory left");
    }
    dpfw_top = end;
    return (void *)(uint32_t)at;
}

void dpfw_keep(void) { dpfw_floor = dpfw_top; }

/* The slave calls it once before each call: what the call before had is not read any more. */
__attribute__((export_name("dpfw_alloc"))) uint32_t dpfw_alloc(uint32_t len) {
    dpfw_top = dpfw_floor;
    return (uint32_t)dpfw_room(len);
}

/* ---- Text ----------------------------------------------------------------------------- */

dpfw_text dpfw_join(const dpfw_text *texts, uint32_t count) {
    uint64_t len = 0;
    for (uint32_t i = 0; i < count; i++) len += texts[i].len;
    if (len > UINT32_MAX) DPFW_PANIC("the texts are too long to be joined");
    char *at = dpfw_room((uint32_t)len), *to = at;
    for (uint32_t i = 0; i < count; i++) {
        memcpy(to, texts[i].at, texts[i].len);
        to += texts[i].len;
    }
    return (dpfw_text){at, (uint32_t)len};
}

static dpfw_text dpfw_join3_(dpfw_text a, dpfw_text b, dpfw_text c) {
    const dpfw_text all[] = {a, b, c};
    return dpfw_join(all, 3);
}

void dpfw_log(uint32_t level, dpfw_text line) {
    dpfw_host_log(level, "guest", 5, line.at, line.len);
}

void dpfw_progress(uint64_t done, uint64_t total) { dpfw_host_progress(done, total); }

_Noreturn void dpfw_panic(dpfw_text why, dpfw_text file, uint32_t line) {
    dpfw_host_panic(why.at, why.len, file.at, file.len, line, 0);
    __builtin_trap();
}

/* ---- Reading MessagePack -------------------------------------------------------------- */

dpfw_in dpfw_in_of(dpfw_bytes bytes) {
    return (dpfw_in){bytes.at, bytes.at + bytes.len, {0, 0}};
}

bool dpfw_in_fits(const dpfw_in *in) { return in->why.at == 0; }

static void dpfw_misfit_(dpfw_in *in, dpfw_text name, dpfw_text what) {
    if (dpfw_in_fits(in)) {
        dpfw_text head = dpfw_join3_(DPFW_TEXT("argument `"), name, DPFW_TEXT("`: "));
        in->why = dpfw_join3_(head, what, DPFW_TEXT(""));
    }
    in->at = in->end;
}

static bool dpfw_has_(const dpfw_in *in, uint64_t len) {
    return dpfw_in_fits(in) && (uint64_t)(in->end - in->at) >= len;
}

/* A number of so many bytes, the highest first. */
static uint64_t dpfw_big_(dpfw_in *in, uint32_t size, dpfw_text name) {
    if (!dpfw_has_(in, size)) return dpfw_misfit_(in, name, DPFW_TEXT("it is cut off")), 0;
    uint64_t value = 0;
    for (uint32_t i = 0; i < size; i++) value = value << 8 | *in->at++;
    return value;
}

static uint8_t dpfw_marker_(dpfw_in *in, dpfw_text name) {
    return (uint8_t)dpfw_big_(in, 1, name);
}

static dpfw_text dpfw_kind_(uint8_t m) {
    if (m <= 0x7f || m >= 0xe0 || (m >= 0xcc && m <= 0xd3)) return DPFW_TEXT("an integer does not fit");
    if (m <= 0x8f || m == 0xde || m == 0xdf) return DPFW_TEXT("a map does not fit");
    if (m <= 0x9f || m == 0xdc || m == 0xdd) return DPFW_TEXT("an array does not fit");
    if (m <= 0xbf || (m >= 0xd9 && m <= 0xdb)) return DPFW_TEXT("a string does not fit");
    if (m == 0xc0) return DPFW_TEXT("null does not fit");
    if (m == 0xc2 || m == 0xc3) return DPFW_TEXT("a boolean does not fit");
    if (m >= 0xc4 && m <= 0xc6) return DPFW_TEXT("a byte string does not fit");
    if (m == 0xca || m == 0xcb) return DPFW_TEXT("a float does not fit");
    return DPFW_TEXT("an extension does not fit");
}

dpfw_i64 dpfw_read_i64(dpfw_in *in, dpfw_text name) {
    uint8_t m = dpfw_marker_(in, name);
    if (m <= 0x7f || m >= 0xe0) return (int8_t)m;
    if (m >= 0xcc && m <= 0xcf) {
        uint64_t value = dpfw_big_(in, 1u << (m - 0xcc), name);
        if (value > INT64_MAX) dpfw_misfit_(in, name, dpfw_kind_(m));
        return (int64_t)value;
    }
    if (m >= 0xd0 && m <= 0xd3) {
        uint32_t size = 1u << (m - 0xd0), rest = 64 - 8 * size;
        return (int64_t)(dpfw_big_(in, size, name) << rest) >> rest;
    }
    return dpfw_misfit_(in, name, dpfw_kind_(m)), 0;
}

dpfw_f64 dpfw_read_f64(dpfw_in *in, dpfw_text name) {
    uint8_t m = dpfw_marker_(in, name);
    if (m == 0xca) {
        union { uint32_t bits; float value; } f = {(uint32_t)dpfw_big_(in, 4, name)};
        return f.value;
    }
    if (m == 0xcb) {
        union { uint64_t bits; double value; } f = {dpfw_big_(in, 8, name)};
        return f.value;
    }
    if (!dpfw_in_fits(in)) return 0;
    in->at--;
    return (double)dpfw_read_i64(in, name);
}

dpfw_flag dpfw_read_flag(dpfw_in *in, dpfw_text name) {
    uint8_t m = dpfw_marker_(in, name);
    if (m != 0xc2 && m != 0xc3) dpfw_misfit_(in, name, dpfw_kind_(m));
    return m == 0xc3;
}

/* The bytes of a string or a byte string; `least` is the marker of its shortest head. */
static dpfw_bytes dpfw_run_(dpfw_in *in, dpfw_text name, uint8_t least) {
    uint8_t m = dpfw_marker_(in, name);
    uint64_t len = 0;
    if (least == 0xd9 && m >= 0xa0 && m <= 0xbf) len = m & 0x1f;
    else if (m >= least && m <= least + 2) len = dpfw_big_(in, 1u << (m - least), name);
    else dpfw_misfit_(in, name, dpfw_kind_(m));
    if (!dpfw_has_(in, len)) return dpfw_misfit_(in, name, DPFW_TEXT("it is cut off")), (dpfw_bytes){0, 0};
    dpfw_bytes bytes = {in->at, (uint32_t)len};
    in->at += len;
    return bytes;
}

dpfw_text dpfw_read_text(dpfw_in *in, dpfw_text name) {
    dpfw_bytes bytes = dpfw_run_(in, name, 0xd9);
    return (dpfw_text){(const char *)bytes.at, bytes.len};
}

dpfw_bytes dpfw_read_bytes(dpfw_in *in, dpfw_text name) { return dpfw_run_(in, name, 0xc4); }

uint32_t dpfw_read_array(dpfw_in *in, dpfw_text name) {
    uint8_t m = dpfw_marker_(in, name);
    uint64_t len = 0;
    if (m >= 0x90 && m <= 0x9f) len = m & 0x0f;
    else if (m == 0xdc || m == 0xdd) len = dpfw_big_(in, m == 0xdc ? 2 : 4, name);
    else dpfw_misfit_(in, name, dpfw_kind_(m));
    /* An element has a byte at least: nothing is allocated for a length that cannot be. */
    if (!dpfw_has_(in, len)) return dpfw_misfit_(in, name, DPFW_TEXT("it is cut off")), 0;
    return (uint32_t)len;
}

#define DPFW_READ_MANY_(many, one)                                                             \
    dpfw_##many dpfw_read_##many(dpfw_in *in, dpfw_text name) {                                \
        uint32_t len = dpfw_read_array(in, name);                                              \
        uint64_t bytes = (uint64_t)len * sizeof(dpfw_##one);                                   \
        if (bytes > UINT32_MAX) dpfw_misfit_(in, name, DPFW_TEXT("it is too long")), len = 0;  \
        dpfw_##many all = {dpfw_room(len * sizeof(dpfw_##one)), len};                          \
        for (uint32_t i = 0; i < len; i++) all.at[i] = dpfw_read_##one(in, name);              \
        return all;                                                                            \
    }
DPFW_READ_MANY_(ints, i64)
DPFW_READ_MANY_(texts, text)

/* ---- Writing MessagePack -------------------------------------------------------------- */

dpfw_bytes dpfw_out_bytes(const dpfw_out *out) { return (dpfw_bytes){out->at, out->len}; }

static uint8_t *dpfw_more_(dpfw_out *out, uint32_t len) {
    uint64_t need = (uint64_t)out->len + len;
    if (need > out->room) {
        uint64_t room = need > 2ull * out->room ? need : 2ull * out->room;
        if (room < 64) room = 64;
        if (room > UINT32_MAX) DPFW_PANIC("what is written is too long");
        uint8_t *at = dpfw_room((uint32_t)room);
        memcpy(at, out->at, out->len);
        out->at = at;
        out->room = (uint32_t)room;
    }
    uint8_t *at = out->at + out->len;
    out->len = (uint32_t)need;
    return at;
}

/* A marker, and a number of so many bytes, the highest first. */
static void dpfw_head_(dpfw_out *out, uint8_t marker, uint64_t value, uint32_t size) {
    uint8_t *at = dpfw_more_(out, 1 + size);
    *at++ = marker;
    while (size--) *at++ = (uint8_t)(value >> (8 * size));
}

void dpfw_write_i64(dpfw_out *out, dpfw_i64 value) {
    if (value >= -32 && value <= 127) dpfw_head_(out, (uint8_t)value, 0, 0);
    else if (value >= INT8_MIN && value < 0) dpfw_head_(out, 0xd0, (uint64_t)value, 1);
    else if (value >= INT16_MIN && value < 0) dpfw_head_(out, 0xd1, (uint64_t)value, 2);
    else if (value >= INT32_MIN && value < 0) dpfw_head_(out, 0xd2, (uint64_t)value, 4);
    else if (value < 0) dpfw_head_(out, 0xd3, (uint64_t)value, 8);
    else if (value <= UINT8_MAX) dpfw_head_(out, 0xcc, (uint64_t)value, 1);
    else if (value <= UINT16_MAX) dpfw_head_(out, 0xcd, (uint64_t)value, 2);
    else if (value <= UINT32_MAX) dpfw_head_(out, 0xce, (uint64_t)value, 4);
    else dpfw_head_(out, 0xcf, (uint64_t)value, 8);
}

void dpfw_write_f64(dpfw_out *out, dpfw_f64 value) {
    union { double value; uint64_t bits; } f = {value};
    dpfw_head_(out, 0xcb, f.bits, 8);
}

void dpfw_write_flag(dpfw_out *out, dpfw_flag value) { dpfw_head_(out, value ? 0xc3 : 0xc2, 0, 0); }

void dpfw_write_nothing(dpfw_out *out, dpfw_nothing value) {
    (void)value;
    dpfw_head_(out, 0xc0, 0, 0);
}

void dpfw_write_text(dpfw_out *out, dpfw_text value) {
    uint32_t len = value.len;
    if (len < 32) dpfw_head_(out, (uint8_t)(0xa0 | len), 0, 0);
    else if (len <= UINT8_MAX) dpfw_head_(out, 0xd9, len, 1);
    else if (len <= UINT16_MAX) dpfw_head_(out, 0xda, len, 2);
    else dpfw_head_(out, 0xdb, len, 4);
    memcpy(dpfw_more_(out, len), value.at, len);
}

void dpfw_write_bytes(dpfw_out *out, dpfw_bytes value) {
    uint32_t len = value.len;
    if (len <= UINT8_MAX) dpfw_head_(out, 0xc4, len, 1);
    else if (len <= UINT16_MAX) dpfw_head_(out, 0xc5, len, 2);
    else dpfw_head_(out, 0xc6, len, 4);
    memcpy(dpfw_more_(out, len), value.at, len);
}

void dpfw_write_array(dpfw_out *out, uint32_t len) {
    if (len < 16) dpfw_head_(out, (uint8_t)(0x90 | len), 0, 0);
    else if (len <= UINT16_MAX) dpfw_head_(out, 0xdc, len, 2);
    else dpfw_head_(out, 0xdd, len, 4);
}

void dpfw_write_ints(dpfw_out *out, dpfw_ints value) {
    dpfw_write_array(out, value.len);
    for (uint32_t i = 0; i < value.len; i++) dpfw_write_i64(out, value.at[i]);
}

void dpfw_write_texts(dpfw_out *out, dpfw_texts value) {
    dpfw_write_array(out, value.len);
    for (uint32_t i = 0; i < value.len; i++) dpfw_write_text(out, value.at[i]);
}

/* ---- The keyed store ------------------------------------------------------------------ */

static dpfw_answer dpfw_answer_(uint32_t outcome, bool reads) {
    dpfw_answer answer = {outcome, dpfw_host_reply_version(), {0, 0}};
    if (outcome == DPFW_FAILED || (reads && outcome == DPFW_HIT)) {
        uint32_t len = dpfw_host_reply_len();
        uint8_t *at = dpfw_room(len);
        dpfw_host_reply_take(at);
        answer.value = (dpfw_bytes){at, len};
    }
    return answer;
}

dpfw_answer dpfw_store_get(dpfw_text key) {
    return dpfw_answer_(dpfw_host_get(key.at, key.len), true);
}

dpfw_answer dpfw_store_put(dpfw_text key, dpfw_bytes value) {
    return dpfw_answer_(dpfw_host_put(key.at, key.len, value.at, value.len), false);
}

dpfw_answer dpfw_store_put_if_absent(dpfw_text key, dpfw_bytes value) {
    return dpfw_answer_(dpfw_host_put_if_absent(key.at, key.len, value.at, value.len), false);
}

dpfw_answer dpfw_store_compare_and_swap(dpfw_text key, dpfw_bytes value, uint64_t expected) {
    return dpfw_answer_(dpfw_host_swap(key.at, key.len, value.at, value.len, expected), false);
}

dpfw_answer dpfw_store_remove(dpfw_text key) {
    return dpfw_answer_(dpfw_host_remove(key.at, key.len), false);
}

bool dpfw_store_failed(dpfw_answer answer) {
    bool failed = answer.outcome == DPFW_FAILED;
    if (failed) dpfw_fail((dpfw_text){(const char *)answer.value.at, answer.value.len});
    return failed;
}

/* ---- A call --------------------------------------------------------------------------- */

bool dpfw_failed_;
dpfw_text dpfw_why_;

void dpfw_fail(dpfw_text why) {
    dpfw_failed_ = true;
    dpfw_why_ = why;
}

/* A number in decimal. */
static dpfw_text dpfw_decimal_(uint32_t n) {
    char *end = (char *)dpfw_room(10) + 10, *at = end;
    do *--at = (char)('0' + n % 10);
    while (n /= 10);
    return (dpfw_text){at, (uint32_t)(end - at)};
}

/* What an earlier call of the same sandbox left behind is nobody's any more. */
dpfw_in dpfw_begin_(uint32_t at, uint32_t len, uint32_t count) {
    dpfw_failed_ = false;
    dpfw_in in = dpfw_in_of((dpfw_bytes){(const uint8_t *)at, len});
    uint32_t given = dpfw_read_array(&in, DPFW_TEXT(""));
    if (!dpfw_in_fits(&in)) {
        in.why = DPFW_TEXT("they are no MessagePack array");
    } else if (given != count) {
        const dpfw_text told[] = {
            DPFW_TEXT("the task takes "), dpfw_decimal_(count),
            count == 1 ? DPFW_TEXT(" argument, ") : DPFW_TEXT(" arguments, "),
            dpfw_decimal_(given), DPFW_TEXT(" were given"),
        };
        in.why = dpfw_join(told, 5);
        in.at = in.end;
    }
    return in;
}

bool dpfw_complete_(dpfw_in *in) {
    if (dpfw_in_fits(in) && in->at != in->end) in->why = DPFW_TEXT("bytes are left over behind them");
    return dpfw_in_fits(in);
}

dpfw_out dpfw_reply_(void) {
    dpfw_out out = {0, 0, 0};
    *dpfw_more_(&out, 1) = DPFW_TAG_RESULT;
    return out;
}

int64_t dpfw_give_(const dpfw_out *out) {
    return (int64_t)((uint64_t)(uint32_t)out->at << 32 | out->len);
}

int64_t dpfw_told_(uint8_t tag, dpfw_text text) {
    dpfw_out out = {0, 0, 0};
    *dpfw_more_(&out, 1) = tag;
    memcpy(dpfw_more_(&out, text.len), text.at, text.len);
    return dpfw_give_(&out);
}

#endif
