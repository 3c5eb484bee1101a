// Preloaded into a program, lets a test set that program's CLOCK_REALTIME while it runs: the file that
// LITECLUSTER_TEST_CLOCK names holds nanoseconds to add, as a 64-bit integer. Time namespaces can do that only for
// the other clocks. Waits until an absolute time of that clock behave as they do when the kernel's clock is set.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t* shared_offset;
static int (*real_gettime)(clockid_t, struct timespec*);
static int (*real_timedwait)(pthread_cond_t*, pthread_mutex_t*, const struct timespec*);
static int (*real_clockwait)(pthread_cond_t*, pthread_mutex_t*, clockid_t, const struct timespec*);

static const int64_t second = 1000000000;

__attribute__((constructor)) static void set_up(void) {
  real_gettime = (int (*)(clockid_t, struct timespec*))dlsym(RTLD_NEXT, "clock_gettime");
  real_timedwait = (int (*)(pthread_cond_t*, pthread_mutex_t*, const struct timespec*))dlvsym(
      RTLD_NEXT, "pthread_cond_timedwait", "GLIBC_2.3.2");
  real_clockwait = (int (*)(pthread_cond_t*, pthread_mutex_t*, clockid_t, const struct timespec*))dlsym(
      RTLD_NEXT, "pthread_cond_clockwait");
  const char* path = getenv("LITECLUSTER_TEST_CLOCK");
  const int file = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return;
  void* memory = mmap(NULL, sizeof(int64_t), PROT_READ, MAP_SHARED, file, 0);
  close(file);
  if (memory != MAP_FAILED) shared_offset = memory;
}

int clock_gettime(clockid_t clock, struct timespec* time) {
  if (real_gettime == NULL) set_up();
  const int result = real_gettime(clock, time);
  if (result != 0 || shared_offset == NULL) return result;
  if (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE) return result;
  const int64_t now = time->tv_sec * second + time->tv_nsec + *shared_offset;
  time->tv_sec = now / second;
  time->tv_nsec = now % second;
  return 0;
}

int gettimeofday(struct timeval* restrict time, void* restrict zone) {
  (void)zone;
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  time->tv_sec = now.tv_sec;
  time->tv_usec = now.tv_nsec / 1000;
  return 0;
}

time_t time(time_t* result) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (result != NULL) *result = now.tv_sec;
  return now.tv_sec;
}

// In pieces, since the clock may be set meanwhile. A wake-up without a reason is allowed.
static int wait_in_pieces(pthread_cond_t* condition, pthread_mutex_t* mutex, const struct timespec* until) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  const int64_t left = (until->tv_sec - now.tv_sec) * second + until->tv_nsec - now.tv_nsec;
  if (left <= 0) return ETIMEDOUT;
  const int64_t piece = left < second / 10 ? left : second / 10;
  real_gettime(CLOCK_MONOTONIC, &now);
  const int64_t end = now.tv_sec * second + now.tv_nsec + piece;
  const struct timespec at = {.tv_sec = end / second, .tv_nsec = end % second};
  const int result = real_clockwait(condition, mutex, CLOCK_MONOTONIC, &at);
  return result == ETIMEDOUT && piece < left ? 0 : result;
}

int pthread_cond_timedwait(pthread_cond_t* restrict condition, pthread_mutex_t* restrict mutex,
                           const struct timespec* restrict until) {
  if (real_timedwait == NULL) set_up();
  // glibc keeps the clock of the condition there (bit 1: CLOCK_MONOTONIC).
  const int monotonic = (condition->__data.__wrefs & 2) != 0;
  if (monotonic || shared_offset == NULL) return real_timedwait(condition, mutex, until);
  return wait_in_pieces(condition, mutex, until);
}

int pthread_cond_clockwait(pthread_cond_t* restrict condition, pthread_mutex_t* restrict mutex, clockid_t clock,
                           const struct timespec* restrict until) {
  if (real_clockwait == NULL) set_up();
  if (clock != CLOCK_REALTIME || shared_offset == NULL)
    return real_clockwait(condition, mutex, clock, until);
  return wait_in_pieces(condition, mutex, until);
}
