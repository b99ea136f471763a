// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

// Counts the calls that sync a file. The shared libraries that a program is linked with use the
// program's own definition of a function before the C library's. So the peers' calls arrive here,
// too.

// For sync_file_range.
#define _GNU_SOURCE

#include "peers.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/// Lets the shared libraries find a function, and keeps the compiler from dropping it as unused.
#define EXPORTED __attribute__((visibility("default"), used))

static atomic_uint_fast64_t syncs;

void cpeers_count_sync(void) { atomic_fetch_add_explicit(&syncs, 1, memory_order_relaxed); }

uint64_t cpeers_syncs(void) { return atomic_load_explicit(&syncs, memory_order_relaxed); }

EXPORTED int fsync(int file) {
  cpeers_count_sync();
  return (int)syscall(SYS_fsync, file);
}

EXPORTED int fdatasync(int file) {
  cpeers_count_sync();
  return (int)syscall(SYS_fdatasync, file);
}

EXPORTED int msync(void *start, size_t bytes, int flags) {
  cpeers_count_sync();
  return (int)syscall(SYS_msync, start, bytes, flags);
}

EXPORTED int sync_file_range(int file, off64_t offset, off64_t bytes, unsigned int flags) {
  cpeers_count_sync();
  return (int)syscall(SYS_sync_file_range, file, offset, bytes, flags);
}
