// This source file is part of the DiskQueue project.
// SPDX-License-Identifier: Apache-2.0

// The calls that sync a file, counted. A program's own definition comes before the C library's for
// every shared library that the program is linked with, so the peers' calls arrive here as well.

// For sync_file_range.
#define _GNU_SOURCE

#include "peers.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/// To be found by the shared libraries, and not dropped as something that nobody calls.
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
