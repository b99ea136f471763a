// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

// Tells ThreadSanitizer what it cannot see of Swift's libraries on Linux, which are not instrumented.
// Without it, two threads that met there share nothing, and what they handed over is a race. Linked
// into a program, these take the place of the libraries' calls, and call them. Should the libraries
// change, races are told that are none; none that is one is hidden.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdbool.h>
#include <stdint.h>

#define SWIFT __attribute__((swiftcall))
#define SELF __attribute__((swift_context)) void *self

extern void __tsan_acquire(void *address);
extern void __tsan_release(void *address);

#define NEXT(function, name) \
  static __typeof__(&function) next; \
  if (!next) next = (__typeof__(&function))dlsym(RTLD_NEXT, name)

// A Mutex that nobody waits for is taken and given up by atomic operations in the instrumented code.
// Where somebody does, a futex passes it on, in _MutexHandle's _lockSlow, _tryLockSlow, _unlockSlow.
// https://github.com/swiftlang/swift/blob/release/6.3/stdlib/public/Synchronization/Mutex/LinuxImpl.swift

#define LOCK "$s15Synchronization12_MutexHandleV9_lockSlowyys6UInt32VF"
#define TRY_LOCK "$s15Synchronization12_MutexHandleV12_tryLockSlowSbyF"
#define UNLOCK "$s15Synchronization12_MutexHandleV11_unlockSlowyyF"

SWIFT void lock(uint32_t thread, SELF) __asm__(LOCK);
SWIFT bool tryLock(SELF) __asm__(TRY_LOCK);
SWIFT void unlock(SELF) __asm__(UNLOCK);

SWIFT void lock(uint32_t thread, SELF) {
  NEXT(lock, LOCK);
  next(thread, self);
  __tsan_acquire(self);
}

SWIFT bool tryLock(SELF) {
  NEXT(tryLock, TRY_LOCK);
  bool isLocked = next(self);
  if (isLocked) __tsan_acquire(self);
  return isLocked;
}

SWIFT void unlock(SELF) {
  NEXT(unlock, UNLOCK);
  __tsan_release(self);
  next(self);
}

// A task that suspends at a continuation is handed over by the runtime's own words to the sanitizer:
// the resumption releases the task, and the job that goes on with it acquires it. Where the
// continuation was resumed before its task came to wait, the task just goes on, and acquires nothing:
// that is made good here. Of the context, the runtime reads where to go on in this case alone; in the
// other it goes by the task, which was told at the beginning.
// https://github.com/swiftlang/swift/blob/release/6.3/stdlib/public/Concurrency/Task.cpp
// (swift_continuation_init, _await, _resume), and include/swift/ABI/Task.h for what stands where.

#define SWIFT_ASYNC __attribute__((swiftasynccall))

typedef SWIFT_ASYNC void Resumption(__attribute__((swift_async_context)) void *context);

// AsyncTask: a job of seven words, then where and with which context it goes on.
struct Task {
  void *job[7];
  Resumption *resume;
};

struct ContinuationContext {
  void *parent;
  Resumption *resume;
  uintptr_t flags;
};

// It goes on by way of another executor, and so as a job; the compiler does not ask for it.
static const uintptr_t switchesExecutor = 2;

SWIFT struct Task *swift_task_getCurrent(void);
SWIFT_ASYNC void swift_continuation_await(struct ContinuationContext *context);

static SWIFT_ASYNC void goOn(__attribute__((swift_async_context)) void *context) {
  struct Task *task = swift_task_getCurrent();
  __tsan_acquire(task);
  __attribute__((musttail)) return task->resume(context);
}

SWIFT_ASYNC void swift_continuation_await(struct ContinuationContext *context) {
  NEXT(swift_continuation_await, "swift_continuation_await");
  if (!(context->flags & switchesExecutor)) context->resume = goOn;
  __attribute__((musttail)) return next(context);
}
