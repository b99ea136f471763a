// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

// Reports to ThreadSanitizer the synchronization in Swift's libraries on Linux, which are not
// instrumented. Without this file, ThreadSanitizer does not see that two threads synchronized
// there, and reports a race on the data that they handed over.
//
// Linked into a program, these functions replace the libraries' calls, and call them. If the
// libraries change, ThreadSanitizer may report false races. It hides no real one.

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

// Atomic operations in the instrumented code lock and unlock a Mutex for which no thread waits. If
// a thread waits, a futex passes the lock on, in _MutexHandle's _lockSlow, _tryLockSlow,
// _unlockSlow.
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

// If a task suspends at a continuation, the runtime itself reports the handover to the sanitizer:
// the resumption releases the task, and the job that continues the task acquires it. If the
// continuation is resumed before its task waits, the task just continues and acquires nothing. The
// code below adds that acquire. Only in this case does the runtime read the resumption from the
// context. In the other case it uses the task, which stored it at its start.
// https://github.com/swiftlang/swift/blob/release/6.3/stdlib/public/Concurrency/Task.cpp
// (swift_continuation_init, _await, _resume), and include/swift/ABI/Task.h for the layout.

#define SWIFT_ASYNC __attribute__((swiftasynccall))

typedef SWIFT_ASYNC void Resumption(__attribute__((swift_async_context)) void *context);

// AsyncTask: a job of seven words, then the function that continues it, and the context for that.
struct Task {
  void *job[7];
  Resumption *resume;
};

struct ContinuationContext {
  void *parent;
  Resumption *resume;
  uintptr_t flags;
};

// The flag of a continuation that continues on another executor, and so as a job. The compiler does
// not set it.
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
