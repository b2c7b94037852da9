/* A wall clock that jumps by years, back and forth, with each look at it.
 *
 * To be preloaded: what asks for any other clock gets that one as it is. */
#include <stdatomic.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define YEAR 31536000L

int clock_gettime(clockid_t id, struct timespec *now) {
    static const long years[] = {0, 10, -10, 1, -1, 30};
    static atomic_ulong looks;
    int failed = (int)syscall(SYS_clock_gettime, id, now);
    if (!failed && id == CLOCK_REALTIME)
        now->tv_sec += YEAR * years[atomic_fetch_add(&looks, 1) % 6];
    return failed;
}
