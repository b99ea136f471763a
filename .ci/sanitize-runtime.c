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

// A continuation that is resumed before its task came to wait for it: the task goes on without a
// word to the sanitizer. Its next call into the runtime gives back the room of the call that waited.
// https://github.com/swiftlang/swift/blob/release/6.3/stdlib/public/Concurrency/CheckedContinuation.swift

#define RESUME "$sScC6resume9returningyxn_tF"

SWIFT void resume(void *value, void *type, SELF) __asm__(RESUME);
SWIFT void swift_task_dealloc(void *room);
SWIFT void *swift_task_getCurrent(void);

SWIFT void resume(void *value, void *type, SELF) {
  NEXT(resume, RESUME);
  // A continuation is a reference; behind the two words of the object stands the task.
  void *task = (*(void ***)self)[2];
  if (task) __tsan_release(task);
  next(value, type, self);
}

SWIFT void swift_task_dealloc(void *room) {
  NEXT(swift_task_dealloc, "swift_task_dealloc");
  void *task = swift_task_getCurrent();
  if (task) __tsan_acquire(task);
  next(room);
}
