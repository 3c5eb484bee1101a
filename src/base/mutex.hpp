// A mutex, its lock and its condition variable with the annotations of clang's -Wthread-safety: a field that
// says LITECLUSTER_GUARDED_BY(mutex_) cannot be touched without the lock in a clang build.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>

#if defined(__clang__)
#define LITECLUSTER_THREAD_ANNOTATION(x) __attribute__((x))
#else
#define LITECLUSTER_THREAD_ANNOTATION(x)
#endif

#define LITECLUSTER_CAPABILITY(x) LITECLUSTER_THREAD_ANNOTATION(capability(x))
#define LITECLUSTER_SCOPED_CAPABILITY LITECLUSTER_THREAD_ANNOTATION(scoped_lockable)
#define LITECLUSTER_GUARDED_BY(x) LITECLUSTER_THREAD_ANNOTATION(guarded_by(x))
#define LITECLUSTER_REQUIRES(...) LITECLUSTER_THREAD_ANNOTATION(requires_capability(__VA_ARGS__))
#define LITECLUSTER_EXCLUDES(...) LITECLUSTER_THREAD_ANNOTATION(locks_excluded(__VA_ARGS__))
#define LITECLUSTER_ACQUIRE(...) LITECLUSTER_THREAD_ANNOTATION(acquire_capability(__VA_ARGS__))
#define LITECLUSTER_RELEASE(...) LITECLUSTER_THREAD_ANNOTATION(release_capability(__VA_ARGS__))
#define LITECLUSTER_NO_THREAD_SAFETY_ANALYSIS LITECLUSTER_THREAD_ANNOTATION(no_thread_safety_analysis)

namespace litecluster::base {

class LITECLUSTER_CAPABILITY("mutex") Mutex {
 public:
  void lock() LITECLUSTER_ACQUIRE() { mutex_.lock(); }
  void unlock() LITECLUSTER_RELEASE() { mutex_.unlock(); }

 private:
  friend class MutexLock;
  std::mutex mutex_;
};

/// Holds the mutex for a scope; unlock() and lock() may be called in between.
class LITECLUSTER_SCOPED_CAPABILITY MutexLock {
 public:
  explicit MutexLock(Mutex& mutex) LITECLUSTER_ACQUIRE(mutex) : lock_(mutex.mutex_) {}
  ~MutexLock() LITECLUSTER_RELEASE() = default;
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

  void lock() LITECLUSTER_ACQUIRE() { lock_.lock(); }
  void unlock() LITECLUSTER_RELEASE() { lock_.unlock(); }

 private:
  friend class ConditionVariable;
  std::unique_lock<std::mutex> lock_;
};

/// Waits are without a predicate, so that the analysis sees the guarded reads: loop around them.
class ConditionVariable {
 public:
  void notify_one() { condition_.notify_one(); }
  void notify_all() { condition_.notify_all(); }
  void wait(MutexLock& lock) { condition_.wait(lock.lock_); }
  /// False when the time was reached.
  bool wait_until(MutexLock& lock, std::chrono::steady_clock::time_point time) {
    return condition_.wait_until(lock.lock_, time) == std::cv_status::no_timeout;
  }
  bool wait_for(MutexLock& lock, std::chrono::nanoseconds duration) {
    return wait_until(lock, std::chrono::steady_clock::now() + duration);
  }

 private:
  std::condition_variable condition_;
};

}  // namespace litecluster::base
