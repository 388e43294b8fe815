/* Preloaded into a process: the wall clock jumps to another day whenever it is read. Monotonic clocks are right. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdatomic.h>
#include <sys/time.h>
#include <time.h>

static atomic_int jumping;
static atomic_long readings;
static const long offsets[] = {0, 86400, -86400, 30, -30, 315360000, -315360000, 1};

void clock_jumps(int on) { atomic_store(&jumping, on); }

long clock_readings(void) { return atomic_load(&readings); }

static long offset(void) {
    return atomic_load(&jumping) ? offsets[atomic_fetch_add(&readings, 1) % (sizeof offsets / sizeof *offsets)] : 0;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = (__typeof__(real))dlsym(RTLD_NEXT, "clock_gettime");
    int failed = real(clock, now);
    if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += offset();
    return failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    static int (*real)(struct timeval *, void *);
    if (!real) real = (__typeof__(real))dlsym(RTLD_NEXT, "gettimeofday");
    int failed = real(now, zone);
    if (!failed) now->tv_sec += offset();
    return failed;
}

time_t time(time_t *kept) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (kept) *kept = now.tv_sec;
    return now.tv_sec;
}
